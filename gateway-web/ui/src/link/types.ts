// What the page says after a reconnect.
export type Caught = { events: number; at: number }
