// Output on its way into the terminal: each byte once, in order; a flood is skipped to its end, since nobody can
// read megabytes a second and the page must stay quick.
import type { Terminal } from '@xterm/xterm'
import type { OutputChunk } from '../gen/agentd/v1/session_service_pb'
import { bytes } from '../lib/format'

/** Bytes given to the terminal and not yet drawn. */
const CREDIT = 256 * 1024
/** A backlog beyond this is replaced by its end. */
const BEHIND = 1024 * 1024

export class Screen {
  private offset = -1n
  private queue: Uint8Array[] = []
  private queued = 0
  private drawing = 0
  private skipped = 0

  constructor(
    private terminal: Terminal,
    private exec: string,
    private say: (note: string) => void,
  ) {}

  take(chunk: OutputChunk): void {
    if (chunk.execId !== this.exec) return
    const end = chunk.offset + BigInt(chunk.data.length)
    if (end <= this.offset) return
    const fresh = chunk.offset < this.offset ? chunk.data.subarray(Number(this.offset - chunk.offset)) : chunk.data
    // A late joiner gets the tail: what came before it is not known to this screen.
    if (this.offset >= 0n && chunk.offset > this.offset) this.lose(Number(chunk.offset - this.offset))
    this.offset = end
    this.queue.push(fresh)
    this.queued += fresh.length
    if (this.queued > BEHIND) this.cut()
    this.draw()
  }

  private lose(count: number): void {
    this.skipped += count
    this.say(`${bytes(this.skipped)} skipped to keep up`)
  }

  // Keeps the end, from the start of a line, on a clean screen.
  private cut(): void {
    let kept = 0
    while (this.queue.length > 1 && this.queued - (this.queue[0]?.length ?? 0) >= CREDIT) {
      const gone = this.queue.shift()?.length ?? 0
      this.queued -= gone
      kept += gone
    }
    const first = this.queue[0]
    if (first && this.queued > CREDIT) {
      const from = Math.max(0, first.length - CREDIT)
      const line = first.indexOf(10, from) + 1
      this.queue[0] = first.subarray(line || from)
      this.queued -= line || from
      kept += line || from
    }
    this.lose(kept)
    this.queue.unshift(new TextEncoder().encode('\x1b[!p\x1b[m\r\n'))
  }

  private draw(): void {
    while (this.queue.length > 0 && this.drawing < CREDIT) {
      const part = this.queue.shift() as Uint8Array
      this.queued = Math.max(0, this.queued - part.length)
      this.drawing += part.length
      this.terminal.write(part, () => {
        this.drawing -= part.length
        this.draw()
      })
    }
  }
}
