// Asks for what is shown, one question at a time: an older answer never takes a newer one's place, and whatever rings
// while one is on its way is asked about once more after it.

/** `ask` as often as needed and never twice at once; settles when an answer that began after the call is shown. */
export function inTurn(ask: () => Promise<void>): () => Promise<void> {
  let now: Promise<void> | undefined
  let next: Promise<void> | undefined
  const start = (): Promise<void> => {
    if (!now) return (now = ask().finally(() => (now = undefined)))
    const after = (): Promise<void> => {
      next = undefined
      return start()
    }
    return (next ??= now.then(after, after))
  }
  return start
}
