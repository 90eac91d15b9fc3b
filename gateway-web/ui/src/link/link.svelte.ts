// The tab's end of the link: the list of sessions, the connection's state, and the followed session's items.
import type { Caught } from './types'
import { SessionState, type Session } from '../gen/agentd/v1/session_pb'
import type { WatchItem } from '../gen/agentd/v1/session_service_pb'
import { sessions } from '../lib/api'
import { millis } from '../lib/format'
import { open } from './channel'
import type { FromHub, LinkState, ToHub } from './hub'
import type { Typed } from './typist'

type Follower = { cursor: () => bigint; take: (item: WatchItem) => void }

const ALIVE_EVERY = 45_000
// Not in lists; whoever has one open still sees what became of it.
const HIDDEN = new Set([SessionState.ARCHIVED, SessionState.DELETED])
const RANK: Record<number, number> = { [SessionState.NEEDS_YOU]: 0 }

class Link {
  state = $state.raw<LinkState>({ state: 'connecting', attempt: 0, retryAt: 0 })
  caught = $state.raw<Caught | undefined>(undefined)
  /** The gateway has another page than this one. */
  newer = $state(false)
  /** False until the first list came. */
  listed = $state(false)
  /** How often each board rang: a new map with every mark, also where only its files' trouble changed. */
  boards = $state.raw<Map<string, bigint>>(new Map())
  /** Counts what was said about any session. */
  changes = $state(0)
  /** Terminals that another tab of this browser types into. */
  elsewhere = $state.raw<Set<string>>(new Set())
  /** Hears what became of typed bytes. */
  onTyped: ((exec: string, typed: Typed) => void) | undefined
  private rows = $state.raw<Map<string, Session>>(new Map())
  private followers = new Map<string, Set<Follower>>()
  private send: ((message: ToHub) => void) | undefined
  private onUp = new Set<() => void>()

  /** Needing you first, then by last event. */
  sessions = $derived(
    [...this.rows.values()].filter((one) => !HIDDEN.has(one.state)).sort(
      (a, b) => (RANK[a.state] ?? 1) - (RANK[b.state] ?? 1) || millis(b.updateTime) - millis(a.updateTime),
    ),
  )
  /** How many are archived, and how many in the trash. */
  archived = $derived([...this.rows.values()].filter((one) => one.state === SessionState.ARCHIVED).length)
  deleted = $derived([...this.rows.values()].filter((one) => one.state === SessionState.DELETED).length)
  waiting = $derived(this.sessions.reduce((sum, one) => sum + one.approvalIds.length, 0))

  start(): void {
    if (this.send) return
    this.send = open((message) => this.receive(message))
    this.want(false)
    void this.list()
    setInterval(() => this.want(false), ALIVE_EVERY)
    const awake = (): void => {
      if (!document.hidden) this.now()
    }
    document.addEventListener('visibilitychange', awake)
    window.addEventListener('online', awake)
    window.addEventListener('pageshow', (event) => event.persisted && this.want(true))
    window.addEventListener('pagehide', () => this.send?.({ t: 'bye' }))
  }

  session(id: string): Session | undefined {
    const fits = (one: Session): boolean => one.name === id || one.sessionId.startsWith(id)
    return this.rows.get(id) ?? this.sessions.find(fits) ?? [...this.rows.values()].find(fits)
  }

  follow(id: string, follower: Follower): () => void {
    const all = this.followers.get(id) ?? new Set()
    all.add(follower)
    this.followers.set(id, all)
    this.want(true)
    return () => {
      all.delete(follower)
      if (all.size === 0) this.followers.delete(id)
      this.want(false)
    }
  }

  /** Calls when the link comes up, also the first time. */
  whenUp(call: () => void): () => void {
    this.onUp.add(call)
    if (this.state.state === 'up') call()
    return () => this.onUp.delete(call)
  }

  now(): void {
    this.send?.({ t: 'now' })
  }

  /** A terminal is drawn up to here: the leave to send more. */
  ack(session: string, exec: string, offset: bigint): void {
    this.send?.({ t: 'ack', session, exec, offset })
  }

  /** Bytes for a terminal; with `take` the input is taken from whoever has it. */
  type(session: string, exec: string, data: Uint8Array, take: boolean): void {
    this.send?.({ t: 'type', session, exec, data, take })
  }

  // The first list is asked for beside the stream: it is there before a worker has even started.
  private async list(): Promise<void> {
    try {
      const first = await sessions.listSessions({ pageSize: 1000 })
      this.receive({ t: 'rows', rows: first.sessions.filter((one) => !this.rows.has(one.sessionId)) })
      this.listed = true
    } catch {
      // The stream says what is wrong, and brings the list when it is up.
    }
  }

  private want(again: boolean): void {
    const wants = [...this.followers].map(([id, all]): [string, bigint] => {
      const cursors = [...all].map((one) => one.cursor())
      return [id, cursors.reduce((a, b) => (a < b ? a : b))]
    })
    this.send?.({ t: 'want', wants, again })
  }

  private receive(message: FromHub): void {
    if (message.t === 'state') {
      const before = this.state.state
      this.state = message.link
      if (message.link.state === 'up' && before !== 'up') for (const call of this.onUp) call()
    } else if (message.t === 'rows') {
      const rows = new Map(this.rows)
      for (const row of message.rows) rows.set(row.sessionId, row)
      this.rows = rows
      this.changes += 1
      if (message.rows.length) this.listed = true
    } else if (message.t === 'gone') {
      const rows = new Map(this.rows)
      rows.delete(message.id)
      this.rows = rows
      this.changes += 1
    } else if (message.t === 'board') {
      this.boards = new Map(this.boards).set(message.workspace, (this.boards.get(message.workspace) ?? 0n) + 1n)
    } else if (message.t === 'back') {
      this.caught = { events: message.events, at: Date.now() }
    } else if (message.t === 'newer') {
      this.newer = true
    } else if (message.t === 'typed') {
      this.onTyped?.(message.exec, message)
    } else if (message.t === 'hand') {
      const all = new Set(this.elsewhere)
      if (message.elsewhere) all.add(message.exec)
      else all.delete(message.exec)
      this.elsewhere = all
    } else {
      for (const follower of this.followers.get(message.item.sessionId) ?? []) follower.take(message.item)
    }
  }
}

export const link = new Link()
