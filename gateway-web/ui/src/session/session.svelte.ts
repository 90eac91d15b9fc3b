// One followed session: a window of its log, live items, previews, running output, and what was not sent yet.
import type { Event } from '../gen/agentd/v1/event_pb'
import type { Approval } from '../gen/agentd/v1/session_pb'
import type { AttachedClient, OutputChunk, Preview, QueuedMessage, TerminalScreen, WatchItem } from '../gen/agentd/v1/session_service_pb'
import { requestId, sessions, sentence, trouble, type Trouble } from '../lib/api'
import { bytesOf } from '../lib/pictures'
import { outbox, type Attached, type Unsent } from '../lib/prefs.svelte'
import { inTurn } from '../lib/turns'
import { link } from '../link/link.svelte'
import { Fold, type Item } from './items'
import { Tail } from './tail'

const PAGE = 500
/** Events in memory at most; more comes in from either end when it is scrolled to. */
const WINDOW = 1500
/** A gap larger than this is jumped over: reading it all would show nobody anything. */
const JUMP = 2000n

/** Facts after which other messages wait than before. */
const REQUEUES = new Set(['messagePosted', 'messageEdited', 'messageRemoved', 'turnStarted', 'turnSteered'])

export type Live = { id: string; text: string; reasoning: string; tool: string }

/** What is attached, as the contract has it. */
function part(file: Attached) {
  return 'picture' in file
    ? { part: { case: 'image' as const, value: { name: file.name, data: bytesOf(file.picture) } } }
    : { part: { case: 'attachment' as const, value: file } }
}

export class Following {
  items = $state.raw<Item[]>([])
  live = $state.raw<Live | undefined>(undefined)
  tails = $state.raw<Map<string, { text: string }>>(new Map())
  asking = $state.raw<Approval[]>([])
  terminals = $state.raw<string[]>([])
  unsent = $state.raw<Unsent[]>([])
  /** Messages that wait for the agent. */
  queue = $state.raw<QueuedMessage[]>([])
  /** Who follows this session. */
  clients = $state.raw<AttachedClient[]>([])
  /** How full the context was after each turn in the window. */
  fills = $state.raw<Fold['fills']>([])
  /** The agent's plan. */
  plan = $state.raw<Fold['plan']>([])
  turn = $state('')
  older = $state(false)
  newer = $state(false)
  ready = $state(false)
  /** The event that was looked for: its item is marked and brought into view. */
  marked = $state(0n)
  trouble = $state.raw<Trouble | undefined>(undefined)
  /** Chunks and screens of terminals, for whoever draws one. */
  onOutput: ((chunk: OutputChunk) => void) | undefined
  onScreen: ((screen: TerminalScreen) => void) | undefined

  private events: Event[] = []
  private outputs = new Map<string, Tail>()
  private fold = new Fold()
  private head = 0n
  private busy = false
  private filling = false
  private sending = false
  private pending = 0
  private late = 0
  private later = 0
  private stops: (() => void)[] = []

  constructor(readonly id: string) {
    this.unsent = outbox.get(id)
    void this.open()
  }

  close(): void {
    for (const stop of this.stops) stop()
    this.stops = []
    this.onOutput = undefined
    this.onScreen = undefined
    this.undraw()
    clearTimeout(this.later)
  }

  private async open(): Promise<void> {
    try {
      const { session } = await sessions.getSession({ sessionId: this.id })
      if (!session) return
      this.head = session.head
      const page = await sessions.listEvents({ sessionId: this.id, beforeSeq: session.head + 1n, pageSize: PAGE })
      this.reset(page.events)
      this.ready = true
      this.trouble = undefined
      const follower = { cursor: () => this.cursor(), take: (item: WatchItem) => this.take(item) }
      this.stops.push(link.follow(session.sessionId, follower))
      this.stops.push(link.whenUp(() => void this.flush()))
      this.stops.push(link.whenUp(() => void this.requeue()))
    } catch (thrown) {
      this.trouble = trouble(thrown)
      if (!this.trouble.lost) return
      const stop = link.whenUp(() => {
        stop()
        void this.open()
      })
      this.stops.push(stop)
    }
  }

  private reset(events: Event[]): void {
    this.events = events
    this.refold()
    this.newer = false
  }

  private refold(): void {
    this.fold = new Fold()
    for (const event of this.events) this.fold.apply(event)
    this.older = (this.events[0]?.seq ?? 1n) > 1n
    this.show()
  }

  private cursor(): bigint {
    return this.newer ? this.head : (this.events.at(-1)?.seq ?? 0n)
  }

  private take(item: WatchItem): void {
    const { item: what } = item
    if (what.case === 'event') this.fact(what.value)
    else if (what.case === 'caughtUp') void this.fill(what.value.head)
    else if (what.case === 'preview') this.preview(what.value)
    else if (what.case === 'output') this.output(what.value)
    else if (what.case === 'screen') this.onScreen?.(what.value)
    else if (what.case === 'clients') this.clients = what.value.clients
  }

  // The daemon knows the queue best: it is asked after each fact that changes it.
  readonly requeue = inTurn(async () => {
    try {
      this.queue = (await sessions.listQueuedMessages({ sessionId: this.id })).messages
    } catch {
      // The stream notices the same and tries again.
    }
  })

  /** Changes a message that waits; without a text only whether it steers. */
  async edit(one: QueuedMessage, text: string | undefined, steer: boolean | undefined): Promise<void> {
    const attached = one.parts.filter(({ part }) => part.case === 'attachment' || part.case === 'image')
    const parts = text === undefined ? [] : [{ part: { case: 'text' as const, value: text } }, ...attached]
    await sessions.editMessage({ requestId: requestId(), sessionId: this.id, messageId: one.messageId, parts, steer })
  }

  async remove(one: QueuedMessage): Promise<void> {
    await sessions.removeMessage({ requestId: requestId(), sessionId: this.id, messageId: one.messageId })
  }

  private fact(event: Event): void {
    const last = this.events.at(-1)?.seq ?? 0n
    if (event.seq > this.head) this.head = event.seq
    // Looking at old pages: the end is fetched when it is scrolled to.
    if (this.newer || event.seq <= last) return
    if (event.seq !== last + 1n) {
      void this.fill(event.seq)
      return
    }
    this.events.push(event)
    this.fold.apply(event)
    if (REQUEUES.has(event.body.case ?? '')) void this.requeue()
    if (event.body.case === 'stepFinished' || event.body.case === 'turnFinished') this.live = undefined
    if (event.body.case === 'execFinished') this.outputs.delete(event.body.value.execId)
    this.draw()
  }

  // Fetches what lies between the last event here and `head`.
  private async fill(head: bigint): Promise<void> {
    if (head > this.head) this.head = head
    const last = this.events.at(-1)?.seq ?? 0n
    if (this.filling || this.newer || head <= last) return
    this.filling = true
    try {
      if (head - last > JUMP) {
        const page = await sessions.listEvents({ sessionId: this.id, beforeSeq: head + 1n, pageSize: PAGE })
        this.reset(page.events)
      } else {
        const page = await sessions.listEvents({ sessionId: this.id, afterSeq: last, pageSize: Number(JUMP) })
        for (const event of page.events) {
          if (event.seq !== (this.events.at(-1)?.seq ?? 0n) + 1n) continue
          this.events.push(event)
          this.fold.apply(event)
        }
      }
      this.show()
    } catch {
      // The stream notices the same and tries again.
    } finally {
      this.filling = false
    }
    if (this.head > (this.events.at(-1)?.seq ?? 0n) && link.state.state === 'up') void this.fill(this.head)
  }

  private preview(preview: Preview): void {
    const id = `${preview.turnId}/${preview.step}`
    const old = this.live?.id === id && !preview.restart ? this.live : { text: '', reasoning: '', tool: '' }
    this.live = {
      id,
      text: old.text + preview.text,
      reasoning: old.reasoning + preview.reasoning,
      tool: preview.toolCall || old.tool,
    }
  }

  private output(chunk: OutputChunk): void {
    if (this.fold.terminals.has(chunk.execId) || this.onOutput) this.onOutput?.(chunk)
    if (this.fold.terminals.has(chunk.execId)) return
    let tail = this.outputs.get(chunk.execId)
    if (!tail) this.outputs.set(chunk.execId, (tail = new Tail()))
    if (tail.take(chunk.stream, chunk.offset, chunk.data)) this.draw()
  }

  // Many facts a frame are one change of the page.
  private draw(): void {
    if (this.pending) return
    const next = (): void => {
      this.undraw()
      this.show()
    }
    this.pending = requestAnimationFrame(next)
    // A page that is not painted, hidden or on a busy machine, has no frames: what is new is there all the same.
    this.late = window.setTimeout(next, 250)
  }

  private undraw(): void {
    cancelAnimationFrame(this.pending)
    clearTimeout(this.late)
    this.pending = 0
  }

  private show(): void {
    if (this.events.length > WINDOW + PAGE && !this.newer) {
      this.events = this.events.slice(-WINDOW)
      this.refold()
      return
    }
    this.items = this.fold.items.slice()
    // Copies: what is drawn is compared by identity.
    this.tails = new Map([...this.outputs].map(([id, tail]) => [id, { text: tail.text }]))
    this.asking = [...this.fold.open.values()]
    this.terminals = [...this.fold.terminals]
    this.fills = this.fold.fills.slice()
    this.plan = this.fold.plan
    this.turn = this.fold.turn
    const left = this.unsent.filter((one) => !this.fold.requests.has(one.requestId))
    if (left.length !== this.unsent.length) this.keep(left)
  }

  /** Older events, above. */
  async pageUp(): Promise<void> {
    const first = this.events[0]?.seq ?? 1n
    if (this.busy || first <= 1n) return
    this.busy = true
    try {
      const page = await sessions.listEvents({ sessionId: this.id, beforeSeq: first, pageSize: PAGE })
      const all = [...page.events, ...this.events]
      this.events = all.slice(0, WINDOW)
      if (all.length > WINDOW) this.newer = true
      this.refold()
    } finally {
      this.busy = false
    }
  }

  /** Newer events, below. */
  async pageDown(): Promise<void> {
    const last = this.events.at(-1)?.seq ?? 0n
    if (this.busy || !this.newer) return
    this.busy = true
    try {
      const page = await sessions.listEvents({ sessionId: this.id, afterSeq: last, pageSize: PAGE })
      this.events = [...this.events, ...page.events].slice(-WINDOW)
      if ((this.events.at(-1)?.seq ?? 0n) >= page.head) this.newer = false
      this.refold()
    } finally {
      this.busy = false
    }
  }

  /** Goes to an event, wherever it is in the log; 0: no place is marked. */
  async goTo(seq: bigint): Promise<void> {
    this.marked = seq
    if (seq === 0n) return
    const first = this.events[0]?.seq ?? 0n
    const last = this.events.at(-1)?.seq ?? 0n
    if (seq < first || seq > last) {
      const page = await sessions.listEvents({ sessionId: this.id, beforeSeq: seq + BigInt(PAGE / 2), pageSize: PAGE })
      this.reset(page.events)
      this.newer = (page.events.at(-1)?.seq ?? 0n) < page.head
    }
  }

  /** Back to the end. */
  async toEnd(): Promise<void> {
    if (!this.newer) return
    const page = await sessions.listEvents({ sessionId: this.id, beforeSeq: this.head + 1n, pageSize: PAGE })
    this.reset(page.events)
  }

  /** Sends a message now, or as soon as there is a connection; once. */
  send(text: string, more: Pick<Unsent, 'steer' | 'model' | 'effort' | 'files'> = {}): void {
    this.keep([...this.unsent, { requestId: requestId(), text, ...more, time: Date.now() }])
    void this.flush()
  }

  discard(one: Unsent): void {
    this.keep(this.unsent.filter((other) => other.requestId !== one.requestId))
  }

  /** Posts a refused message anew. */
  again(one: Unsent): void {
    const { error: _, ...rest } = one
    this.keep(this.unsent.map((other) => (other.requestId === one.requestId ? { ...rest, requestId: requestId() } : other)))
    void this.flush()
  }

  dropRefused(): void {
    this.keep(this.unsent.filter((one) => !one.error))
  }

  async flush(): Promise<void> {
    if (this.sending || link.state.state === 'denied') return
    this.sending = true
    try {
      // Looked for anew each time: another one may have been written while the last was on its way.
      for (let one = this.next(); one; one = this.next()) {
        const { requestId: own } = one
        const text = one.text ? [{ part: { case: 'text' as const, value: one.text } }] : []
        const parts = [...text, ...(one.files ?? []).map(part)]
        try {
          await sessions.postMessage({ requestId: one.requestId, sessionId: this.id, parts, approverPresent: true, steer: one.steer ?? false, model: one.model ?? '', effort: one.effort ?? '' })
          this.keep(this.unsent.filter((other) => other.requestId !== own))
        } catch (thrown) {
          const why = trouble(thrown)
          // Lost on the way: the same id is sent again. Refused: the person decides.
          if (why.lost || why.denied) {
            // Where only this call broke, nothing else will say when to try again.
            if (link.state.state === 'up') this.later = window.setTimeout(() => void this.flush(), 2000)
            return
          }
          const error = sentence(why)
          this.keep(this.unsent.map((other) => (other.requestId === own ? { ...other, error } : other)))
        }
      }
    } finally {
      this.sending = false
    }
  }

  private next(): Unsent | undefined {
    return this.unsent.find((one) => !one.error)
  }

  private keep(unsent: Unsent[]): void {
    this.unsent = unsent
    outbox.set(this.id, unsent)
  }

  async interrupt(): Promise<void> {
    await sessions.interruptTurn({ requestId: requestId(), sessionId: this.id })
  }
}
