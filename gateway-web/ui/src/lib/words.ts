// The vocabulary that all clients share: states with their glyphs.
import { SessionState, type Session } from '../gen/agentd/v1/session_pb'

export type StateWord = { key: string; glyph: string; word: string }

const WORDS: Record<number, StateWord> = {
  [SessionState.NEEDS_YOU]: { key: 'needs_you', glyph: '!', word: 'needs you' },
  [SessionState.WORKING]: { key: 'working', glyph: '●', word: 'working' },
  [SessionState.READY]: { key: 'ready', glyph: '○', word: 'ready' },
  [SessionState.PAUSED]: { key: 'paused', glyph: '‖', word: 'paused' },
  [SessionState.FAILED]: { key: 'failed', glyph: '✗', word: 'failed' },
  [SessionState.ARCHIVED]: { key: 'archived', glyph: '▫', word: 'archived' },
  [SessionState.DELETED]: { key: 'deleted', glyph: '✕', word: 'deleted' },
}

export function stateWord(state: SessionState | undefined): StateWord {
  return WORDS[state ?? 0] ?? { key: 'unknown', glyph: '?', word: 'unknown' }
}

/** The states that can be filtered by, in the order of need. */
export const FILTERS = [
  SessionState.NEEDS_YOU,
  SessionState.WORKING,
  SessionState.READY,
  SessionState.PAUSED,
  SessionState.FAILED,
].map((state) => ({ state, ...stateWord(state) }))

/** Percent of the context that is filled, or undefined. */
export function context(session: Session): number | undefined {
  if (session.contextWindowTokens === 0n) return undefined
  return Math.round((Number(session.contextTokens) * 100) / Number(session.contextWindowTokens))
}

/** What an effect means to a person. */
export const EFFECTS: Record<string, string> = {
  reads: 'reads files',
  writes: 'writes files',
  executes: 'runs a command',
  reaches_out: 'reaches the network',
}
