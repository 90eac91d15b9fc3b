// The one stream of this browser: follows the sessions of all its tabs, resumes by cursor, and says how it is.
// Runs in a SharedWorker, or in the tab that leads where there is none.
import { Code, ConnectError } from '@connectrpc/connect'
import type { Session } from '../gen/agentd/v1/session_pb'
import type { WatchItem } from '../gen/agentd/v1/session_service_pb'
import { sessions } from '../lib/api'

/** From a tab: which sessions it shows and what it has seen of them; `again` wants tails and previews anew. */
export type ToHub = { t: 'want'; wants: [string, bigint][]; again: boolean } | { t: 'now' } | { t: 'bye' }

/** How the stream is. */
export type LinkState = { state: 'connecting' | 'up' | 'retry' | 'denied'; attempt: number; retryAt: number }

export type FromHub =
  | { t: 'state'; link: LinkState }
  | { t: 'rows'; rows: Session[] }
  | { t: 'item'; item: WatchItem }
  | { t: 'back'; events: number }

type Port = { post: (message: FromHub) => void; wants: Map<string, bigint>; heard: number }

/** What of a running command's output a newcomer gets. */
const TAIL = 256n * 1024n
/** The one keep-alive of an idle page. */
const PING_EVERY = 20_000
const PING_PATIENCE = 5_000
/** A stream whose answer does not begin in this time is held back by a proxy. */
const HELD_BACK = 4_000
/** Hidden tabs run their timers once a minute; a tab silent for longer is gone. */
const SILENCE = 200_000
const MAX_WAIT = 5_000

export class Hub {
  private ports = new Map<unknown, Port>()
  private rows = new Map<string, Session>()
  private cursors = new Map<string, bigint>()
  private link: LinkState = { state: 'connecting', attempt: 0, retryAt: 0 }
  private running = false
  private abort: AbortController | undefined
  private restarting = false
  private wake: (() => void) | undefined
  private rounds = false

  constructor() {
    setInterval(() => void this.ping(), PING_EVERY)
  }

  receive(key: unknown, post: (message: FromHub) => void, message: ToHub): void {
    if (message.t === 'bye') {
      this.ports.delete(key)
      return
    }
    let port = this.ports.get(key)
    if (!port) {
      port = { post, wants: new Map(), heard: 0 }
      this.ports.set(key, port)
      post({ t: 'state', link: this.link })
      post({ t: 'rows', rows: [...this.rows.values()] })
    }
    port.heard = Date.now()
    if (message.t === 'want') {
      const added = message.wants.some(([id]) => !port.wants.has(id))
      port.wants = new Map(message.wants)
      for (const [id, cursor] of message.wants) {
        if (!this.cursors.has(id)) this.cursors.set(id, cursor)
      }
      if (added || message.again) this.restart()
    } else if (this.link.state === 'up') {
      void this.ping()
    } else {
      this.wake?.()
    }
    if (!this.running) void this.run()
  }

  private tell(message: FromHub, session?: string): void {
    const now = Date.now()
    for (const [key, port] of this.ports) {
      if (now - port.heard > SILENCE) this.ports.delete(key)
      else if (!session || port.wants.has(session)) port.post(message)
    }
  }

  private say(state: LinkState['state'], attempt = 0, retryAt = 0): void {
    this.link = { state, attempt, retryAt }
    this.tell({ t: 'state', link: this.link })
  }

  private restart(): void {
    this.restarting = true
    this.abort?.abort()
    this.wake?.()
  }

  private wanted(): Set<string> {
    const all = new Set<string>()
    for (const port of this.ports.values()) for (const id of port.wants.keys()) all.add(id)
    return all
  }

  private async run(): Promise<void> {
    this.running = true
    let attempt = 0
    while (this.ports.size > 0) {
      this.restarting = false
      const failure = await this.stream(() => (attempt = 0))
      if (this.restarting) continue
      if (failure?.code === Code.Unauthenticated) {
        this.say('denied')
        await this.pause(60_000)
        continue
      }
      // A session that is gone must not keep the others from being followed.
      if (failure?.code === Code.NotFound || failure?.code === Code.InvalidArgument) await this.prune()
      if (this.rounds && !failure) continue
      attempt += 1
      const wait = attempt === 1 ? 100 : Math.min(MAX_WAIT, 250 * 2 ** attempt)
      this.say('retry', attempt, Date.now() + wait)
      await this.pause(wait)
    }
    this.running = false
  }

  private pause(ms: number): Promise<void> {
    return new Promise((done) => {
      const timer = setTimeout(done, ms)
      this.wake = () => {
        clearTimeout(timer)
        done()
      }
    })
  }

  private async stream(opened: () => void): Promise<ConnectError | undefined> {
    const abort = new AbortController()
    this.abort = abort
    const wanted = this.wanted()
    for (const id of this.cursors.keys()) if (!wanted.has(id)) this.cursors.delete(id)
    const subscriptions = [...wanted].slice(0, 64).map((sessionId) => ({
      sessionId,
      afterSeq: this.cursors.get(sessionId) ?? 0n,
      previews: true,
      output: true,
      outputTailBytes: TAIL,
      clients: true,
    }))
    const behind = new Set(wanted)
    const wasDown = this.link.state === 'retry'
    let events = 0
    const up = (): void => {
      clearTimeout(held)
      opened()
      if (this.link.state !== 'up') this.say('up')
    }
    const held = setTimeout(() => {
      // Healthy but silent: something between us keeps streams until they end. Ask in rounds from now on.
      void this.healthy().then((well) => {
        if (well && this.abort === abort && this.link.state !== 'up') {
          this.rounds = true
          this.restart()
        }
      })
    }, HELD_BACK)
    const headers: Record<string, string> = this.rounds ? { 'x-agentd-poll': '1' } : {}
    let batch: Session[] = []
    const flush = (): void => {
      if (batch.length) this.tell({ t: 'rows', rows: batch })
      batch = []
    }
    try {
      const stream = sessions.watch({ subscriptions, sessions: true }, { signal: abort.signal, headers, onHeader: up })
      for await (const { item } of stream) {
        if (!item) continue
        if (item.item.case === 'session') {
          this.rows.set(item.sessionId, item.item.value)
          // The first answer has all sessions: one message to the tabs, not hundreds.
          if (batch.length === 0) setTimeout(flush)
          batch.push(item.item.value)
          continue
        }
        if (item.item.case === 'event') {
          const seq = item.item.value.seq
          if (seq <= (this.cursors.get(item.sessionId) ?? 0n)) continue
          this.cursors.set(item.sessionId, seq)
          events += 1
        }
        if (item.item.case === 'caughtUp') behind.delete(item.sessionId)
        this.tell({ t: 'item', item }, item.sessionId)
        if (wasDown && behind.size === 0 && item.item.case === 'caughtUp') this.tell({ t: 'back', events })
      }
    } catch (thrown) {
      return ConnectError.from(thrown)
    } finally {
      clearTimeout(held)
      flush()
    }
    
    return undefined
  }

  private async prune(): Promise<void> {
    for (const id of this.wanted()) {
      try {
        await sessions.getSession({ sessionId: id })
      } catch (thrown) {
        if (ConnectError.from(thrown).code !== Code.NotFound) return
        for (const port of this.ports.values()) port.wants.delete(id)
      }
    }
  }

  private async healthy(): Promise<boolean> {
    try {
      const answer = await fetch('/healthz', { signal: AbortSignal.timeout(PING_PATIENCE), cache: 'no-store' })
      return answer.ok
    } catch {
      return false
    }
  }

  private async ping(): Promise<void> {
    if (this.ports.size === 0 || this.link.state !== 'up' || this.rounds) return
    const abort = this.abort
    if (!(await this.healthy())) abort?.abort()
  }
}
