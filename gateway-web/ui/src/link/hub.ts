// The one stream of this browser: follows the sessions of all its tabs, resumes by cursor, and says how it is.
// Runs in a SharedWorker, or in the tab that leads where there is none.
import { create } from '@bufbuild/protobuf'
import { Code, ConnectError } from '@connectrpc/connect'
import type { Session } from '../gen/agentd/v1/session_pb'
import type { Event } from '../gen/agentd/v1/event_pb'
import { CaughtUpSchema, OutputStream, WatchItemSchema, type OutputChunk, type WatchItem } from '../gen/agentd/v1/session_service_pb'
import { requestId, sessions, shells } from '../lib/api'
import { Typist, type Typed } from './typist'

/** From a tab: which sessions it shows and what it has seen of them; `again` wants tails and previews anew. */
export type ToHub =
  | { t: 'want'; wants: [string, bigint][]; again: boolean }
  /** A terminal is drawn up to here. */
  | { t: 'ack'; session: string; exec: string; offset: bigint }
  /** For a terminal; with `take` the input is taken from whoever has it. */
  | { t: 'type'; session: string; exec: string; data: Uint8Array; take: boolean }
  | { t: 'now' }
  | { t: 'bye' }

/** How the stream is. */
export type LinkState = { state: 'connecting' | 'up' | 'retry' | 'denied'; attempt: number; retryAt: number }

export type FromHub =
  | { t: 'state'; link: LinkState }
  | { t: 'rows'; rows: Session[] }
  | { t: 'gone'; id: string }
  | { t: 'board'; workspace: string; rev: bigint }
  | { t: 'item'; item: WatchItem }
  | { t: 'back'; events: number }
  /** What became of typed bytes. */
  | ({ t: 'typed'; exec: string } & Typed)
  /** Whether another tab of this browser types into a terminal: its window has the terminal's size. */
  | { t: 'hand'; exec: string; elsewhere: boolean }
  /** The gateway serves another page than the one this browser runs. */
  | { t: 'newer' }

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
/** More events than this are jumped over after a break. */
const FAR = 2_000n

export class Hub {
  private ports = new Map<unknown, Port>()
  private rows = new Map<string, Session>()
  private cursors = new Map<string, bigint>()
  /** Of sessions whose past was seen: how far each running command was read, as `[stdout, stderr]`. */
  private outputs = new Map<string, Map<string, [bigint, bigint]>>()
  private link: LinkState = { state: 'connecting', attempt: 0, retryAt: 0 }
  private running = false
  private abort: AbortController | undefined
  private restarting = false
  private wake: (() => void) | undefined
  private rounds = false
  /** Rounds without anything new, and whether the one under way had something. */
  private quiet = 0
  private news = false
  /** Which tab types into a terminal. */
  private hands = new Map<string, unknown>()
  private typists = new Map<string, Typist>()
  /** Who draws terminals and types into them, to the daemon: all tabs of this browser together. */
  private viewer = requestId()
  private acks = new Map<string, { session: string; exec: string; offset: bigint; busy: boolean; more: boolean }>()
  /** Which page the gateway served when this began. */
  private page: string | undefined
  private newer = false

  constructor() {
    setInterval(() => void this.ping(), PING_EVERY)
    void this.healthy()
  }

  receive(key: unknown, post: (message: FromHub) => void, message: ToHub): void {
    if (message.t === 'bye') {
      this.leave(key)
      return
    }
    let port = this.ports.get(key)
    if (!port) {
      port = { post, wants: new Map(), heard: 0 }
      this.ports.set(key, port)
      post({ t: 'state', link: this.link })
      post({ t: 'rows', rows: [...this.rows.values()] })
      if (this.newer) post({ t: 'newer' })
      for (const exec of this.hands.keys()) post({ t: 'hand', exec, elsewhere: true })
    }
    port.heard = Date.now()
    if (message.t === 'want') {
      const added = message.wants.some(([id]) => !port.wants.has(id))
      port.wants = new Map(message.wants)
      for (const [id, cursor] of message.wants) {
        if (!this.cursors.has(id)) this.cursors.set(id, cursor)
      }
      if (added || message.again) {
        // A tab that begins, or begins anew, wants tails rather than a continuation.
        for (const [id] of message.wants) this.outputs.delete(id)
        this.restart()
      }
    } else if (message.t === 'ack') {
      void this.ack(message.session, message.exec, message.offset)
    } else if (message.t === 'type') {
      this.type(key, post, message)
    } else if (this.link.state === 'up') {
      void this.ping()
    } else {
      this.wake?.()
    }
    if (!this.running) void this.run()
  }

  private leave(key: unknown): void {
    this.ports.delete(key)
    for (const [exec, hand] of this.hands) if (hand === key) this.give(exec, undefined)
  }

  private give(exec: string, key: unknown): void {
    if (key === undefined) this.hands.delete(exec)
    else this.hands.set(exec, key)
    for (const [other, port] of this.ports) port.post({ t: 'hand', exec, elsewhere: key !== undefined && other !== key })
  }

  // All tabs of this browser are one writer, as they are one reader: what they type is in one order, and none of them
  // has to take the input from another.
  private type(key: unknown, post: (message: FromHub) => void, { session, exec, data, take }: ToHub & { t: 'type' }): void {
    if (this.hands.get(exec) !== key) this.give(exec, key)
    let typist = this.typists.get(exec)
    if (!typist) this.typists.set(exec, (typist = new Typist(session, exec, this.viewer)))
    typist.type({ data, take, said: (typed) => post({ t: 'typed', exec, ...typed }) })
  }

  // One call at a time for each terminal; of those that wait only the newest counts.
  private async ack(session: string, exec: string, offset: bigint): Promise<void> {
    const one = this.acks.get(exec) ?? { session, exec, offset, busy: false, more: false }
    this.acks.set(exec, one)
    if (offset > one.offset) one.offset = offset
    one.more = true
    if (one.busy) return
    one.busy = true
    while (one.more) {
      one.more = false
      try {
        await shells.ackOutput({ sessionId: session, execId: exec, viewer: this.viewer, offset: one.offset })
      } catch {
        // The stream is opened anew then, and begins where the last one that arrived said.
      }
    }
    one.busy = false
  }

  private tell(message: FromHub, session?: string): void {
    const now = Date.now()
    for (const [key, port] of this.ports) {
      if (now - port.heard > SILENCE) this.leave(key)
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
      if (this.rounds && !failure) {
        // A round begins with the present state, so it ends at once also where nothing is new: then a little later.
        this.quiet = this.news ? 0 : this.quiet + 1
        this.news = false
        if (this.quiet > 0) await this.pause(Math.min(2000, 200 * this.quiet))
        continue
      }
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
    for (const id of this.outputs.keys()) if (!wanted.has(id)) this.outputs.delete(id)
    const wasDown = this.link.state === 'retry'
    let events = 0
    if (wasDown) {
      try {
        events = await this.jump(wanted)
      } catch (thrown) {
        return ConnectError.from(thrown)
      }
    }
    const subscriptions = [...wanted].slice(0, 64).map((sessionId) => ({
      sessionId,
      afterSeq: this.cursors.get(sessionId) ?? 0n,
      previews: true,
      output: true,
      outputTailBytes: TAIL,
      clients: true,
      outputResume: this.continuation(sessionId),
      viewer: this.viewer,
      writer: this.viewer,
    }))
    const behind = new Set(wanted)
    const up = (): void => {
      opened()
      if (this.link.state === 'retry') void this.healthy()
      if (this.link.state !== 'up') this.say('up')
    }
    // A refusal has a head too.
    const onHeader = (head: Headers): void => {
      if (!head.has('grpc-status')) up()
    }
    // Something between us may keep answers back: its head, or even a full buffer, may pass while the rest waits for
    // more. What must come at once is the present state of each session, and the list where there is any.
    let heard = 0
    const check = (): void => {
      if (this.rounds || this.abort !== abort) return
      if (heard > 0 && behind.size === 0) return
      if (Date.now() - heard < HELD_BACK / 2) held = setTimeout(check, HELD_BACK / 2)
      else void this.heldBack(abort, wanted.size > 0)
    }
    let held = setTimeout(check, HELD_BACK)
    const headers: Record<string, string> = this.rounds ? { 'x-agentd-poll': '1' } : {}
    let batch: Session[] = []
    const flush = (): void => {
      if (batch.length) this.tell({ t: 'rows', rows: batch })
      batch = []
    }
    try {
      const stream = sessions.watch({ subscriptions, sessions: true, boards: true }, { signal: abort.signal, headers, onHeader })
      for await (const { item } of stream) {
        if (!item) continue
        heard = Date.now()
        up()
        if (item.item.case === 'session') {
          this.rows.set(item.sessionId, item.item.value)
          // The first answer has all sessions: one message to the tabs, not hundreds.
          if (batch.length === 0) setTimeout(flush)
          batch.push(item.item.value)
          continue
        }
        if (item.item.case === 'purged') {
          this.rows.delete(item.sessionId)
          this.tell({ t: 'gone', id: item.sessionId })
          continue
        }
        if (item.item.case === 'board') {
          this.tell({ t: 'board', workspace: item.item.value.workspace, rev: item.item.value.rev })
          continue
        }
        if (item.item.case === 'event') {
          const seq = item.item.value.seq
          if (seq <= (this.cursors.get(item.sessionId) ?? 0n)) continue
          this.cursors.set(item.sessionId, seq)
          this.note(item.sessionId, item.item.value)
          events += 1
          this.news = true
        }
        if (item.item.case === 'output') this.read(item.sessionId, item.item.value)
        if (item.item.case === 'caughtUp') {
          behind.delete(item.sessionId)
          if (!this.outputs.has(item.sessionId)) this.outputs.set(item.sessionId, new Map())
        }
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

  /** What this stream had of a session's output, so that the next one goes on there. */
  private continuation(id: string): { cursors: { execId: string; stdoutOffset: bigint; stderrOffset: bigint }[] } | undefined {
    const known = this.outputs.get(id)
    if (!known) return undefined
    return { cursors: [...known].map(([execId, [stdoutOffset, stderrOffset]]) => ({ execId, stdoutOffset, stderrOffset })) }
  }

  private note(id: string, event: Event): void {
    const known = this.outputs.get(id)
    if (event.body.case === 'execStarted') known?.set(event.body.value.execId, [0n, 0n])
    if (event.body.case !== 'execFinished') return
    const { execId } = event.body.value
    known?.delete(execId)
    this.typists.delete(execId)
    this.hands.delete(execId)
  }

  private read(id: string, chunk: OutputChunk): void {
    const known = this.outputs.get(id)
    const [out, err] = known?.get(chunk.execId) ?? [0n, 0n]
    const end = chunk.offset + BigInt(chunk.data.length)
    known?.set(chunk.execId, chunk.stream === OutputStream.STDERR ? [out, end] : [end, err])
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

  // After a long absence nobody wants to see all that happened pass by: the tabs fetch the end, and older pages when
  // they are scrolled to. They need not wait for the stream, which begins when the daemon has the whole session ready.
  // Gives how many events were jumped over.
  private async jump(wanted: Set<string>): Promise<number> {
    let over = 0n
    for (const id of wanted) {
      const cursor = this.cursors.get(id) ?? 0n
      const head = (await sessions.getSession({ sessionId: id })).session?.head ?? 0n
      if (head - cursor <= FAR) continue
      over += head - cursor
      this.cursors.set(id, head)
      this.outputs.delete(id)
      const item = create(WatchItemSchema, { sessionId: id, item: { case: 'caughtUp', value: create(CaughtUpSchema, { head }) } })
      this.tell({ t: 'item', item }, id)
    }
    return Number(over)
  }

  // A proxy keeps the answer until it ends: ask in rounds from now on. Where there is no session yet, nothing has to
  // come.
  private async heldBack(abort: AbortController, follows: boolean): Promise<void> {
    try {
      const { sessions: some } = await sessions.listSessions({ pageSize: 1 })
      if (!follows && some.length === 0) return
    } catch {
      return
    }
    if (this.abort !== abort) return
    this.rounds = true
    this.restart()
  }

  private async healthy(): Promise<boolean> {
    try {
      const answer = await fetch('/healthz', { signal: AbortSignal.timeout(PING_PATIENCE), cache: 'no-store' })
      const page = answer.headers.get('x-agentd-page') ?? undefined
      if (page && this.page && page !== this.page && !this.newer) {
        this.newer = true
        this.tell({ t: 'newer' })
      }
      this.page ??= page
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
