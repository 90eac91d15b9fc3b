// A terminal as it is drawn: a screen that stands for all before it, then each byte once and in order. What is drawn
// is acknowledged, which is the daemon's leave to send more: a flood waits there, and comes as its last screen.
import type { Terminal } from '@xterm/xterm'
import type { OutputChunk, TerminalScreen } from '../gen/agentd/v1/session_service_pb'
import { bytes } from '../lib/format'

/** Bytes given to the terminal and not yet drawn: about what it draws within a frame. */
const DRAWING = 64 * 1024
/** The terminal rests between two writes and never within one: a small one is a short pause for everything else. */
const PIECE = 4 * 1024
/** A tab that draws more slowly than another one of this browser asks for the screen of now. */
const BEHIND = 1024 * 1024
/** Bytes drawn before they are acknowledged; the daemon stops at four times as much. */
const OFTEN = 65_536n

type Hooks = {
  /** Drawn up to here. */
  ack: (offset: bigint) => void
  /** The screen is needed anew. */
  ask: () => void
  /** The terminal has another size than this one. */
  sized: (columns: number, rows: number) => void
  /** A screen is drawn in the size it was made for: now this window may take the terminal for its own. */
  fit: () => void
  say: (note: string) => void
}

export class Screen {
  /** Offset behind the last byte taken; unknown until the first screen came. */
  private offset: bigint | undefined
  private drawn = 0n
  private acked = 0n
  private early: OutputChunk[] = []
  private queue: Uint8Array[] = []
  private queued = 0
  private drawing = 0
  private skipped = 0
  private frame = 0

  constructor(
    private terminal: Terminal,
    private exec: string,
    private hooks: Hooks,
  ) {}

  /** All that was shown is replaced. */
  show(screen: TerminalScreen): void {
    if (screen.execId !== this.exec || (this.offset !== undefined && screen.offset < this.offset)) return
    if (screen.skippedBytes > 0n) this.lose(Number(screen.skippedBytes))
    this.queue = []
    this.queued = 0
    this.offset = screen.offset
    this.terminal.reset()
    this.hooks.sized(screen.columns, screen.rows)
    this.write(screen.data, () => {
      this.hooks.fit()
      this.done(screen.offset, true)
    })
    const early = this.early
    this.early = []
    for (const chunk of early) this.take(chunk)
  }

  take(chunk: OutputChunk): void {
    if (chunk.execId !== this.exec) return
    if (this.offset === undefined) {
      // Kept for the screen that is on its way; what is older than that is in it.
      if (this.early.length < 64) this.early.push(chunk)
      return
    }
    const end = chunk.offset + BigInt(chunk.data.length)
    if (end <= this.offset) return
    const fresh = chunk.offset < this.offset ? chunk.data.subarray(Number(this.offset - chunk.offset)) : chunk.data
    if (chunk.offset > this.offset) this.lose(Number(chunk.offset - this.offset))
    this.offset = end
    this.queue.push(fresh)
    this.queued += fresh.length
    if (this.queued > BEHIND) {
      this.offset = undefined
      this.queue = []
      this.queued = 0
      this.hooks.ask()
      return
    }
    this.draw()
  }

  private lose(count: number): void {
    this.skipped += count
    this.hooks.say(`${bytes(this.skipped)} skipped to keep up`)
  }

  private draw(): void {
    while (this.queue.length > 0 && this.drawing < DRAWING && this.offset !== undefined) {
      const part = this.queue.shift() as Uint8Array
      this.queued -= part.length
      const upTo = this.offset - BigInt(this.queued)
      this.write(part, () => {
        this.done(upTo, false)
        this.draw()
      })
    }
  }

  private write(data: Uint8Array, drawn: () => void): void {
    this.drawing += data.length
    for (let at = 0; at + PIECE < data.length; at += PIECE) this.terminal.write(data.subarray(at, at + PIECE))
    const rest = data.length % PIECE || Math.min(PIECE, data.length)
    this.terminal.write(data.subarray(data.length - rest), () => {
      this.drawing -= data.length
      drawn()
    })
  }

  // Once a frame at most: during a flood, screens come no faster than anybody sees them.
  private done(offset: bigint, screen: boolean): void {
    if (offset > this.drawn) this.drawn = offset
    if (this.frame || (!screen && this.drawn - this.acked < OFTEN)) return
    const send = (): void => {
      this.frame = 0
      this.acked = this.drawn
      this.hooks.ack(this.drawn)
    }
    this.frame = window.setTimeout(send, document.hidden ? 500 : 30)
  }
}
