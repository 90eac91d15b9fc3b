// What this browser remembers: theme, keys, drafts, messages that were not sent yet.
export type Theme = 'system' | 'dark' | 'light' | 'contrast'

function load(key: string): string | null {
  try {
    return localStorage.getItem(`agentd.${key}`)
  } catch {
    return null
  }
}

function save(key: string, value: string | null): void {
  try {
    if (value === null || value === '') localStorage.removeItem(`agentd.${key}`)
    else localStorage.setItem(`agentd.${key}`, value)
  } catch {
    // Storage is full or off: the page works, it only forgets.
  }
}

class Prefs {
  theme = $state<Theme>((load('theme') as Theme) ?? 'system')
  letters = $state(load('letters') !== 'off')
  alerts = $state(load('alerts') === 'on')

  setTheme(theme: Theme): void {
    this.theme = theme
    save('theme', theme)
    const dark = matchMedia('(prefers-color-scheme: dark)').matches
    const high = matchMedia('(prefers-contrast: more)').matches
    const shown = theme !== 'system' ? theme : high ? 'contrast' : dark ? 'dark' : 'light'
    document.documentElement.dataset.theme = shown
  }

  setLetters(on: boolean): void {
    this.letters = on
    save('letters', on ? 'on' : 'off')
  }

  async setAlerts(on: boolean): Promise<void> {
    if (on && Notification.permission !== 'granted') on = (await Notification.requestPermission()) === 'granted'
    this.alerts = on
    save('alerts', on ? 'on' : 'off')
  }
}

export const prefs = new Prefs()
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => prefs.setTheme(prefs.theme))

export const draft = {
  get: (session: string): string => load(`draft.${session}`) ?? '',
  set: (session: string, text: string): void => save(`draft.${session}`, text),
}

/** What goes with a message: a text, or a picture as base64. */
export type Attached = { name: string; text: string } | { name: string; picture: string }

/** A message that waits for the connection. Its id makes it arrive once. */
export type Unsent = { requestId: string; text: string; steer?: boolean; model?: string; effort?: string; files?: Attached[]; time: number; error?: string }

export const outbox = {
  get(session: string): Unsent[] {
    try {
      return JSON.parse(load(`outbox.${session}`) ?? '[]') as Unsent[]
    } catch {
      return []
    }
  },
  set: (session: string, unsent: Unsent[]): void => save(`outbox.${session}`, unsent.length ? JSON.stringify(unsent) : null),
}

/** A clock that ticks once a second while somebody looks. */
class Clock {
  now = $state(Date.now())
  constructor() {
    setInterval(() => {
      if (!document.hidden) this.now = Date.now()
    }, 1000)
  }
}
export const clockNow = new Clock()
