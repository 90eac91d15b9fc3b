// Typed bytes on their way: in order, one write under way, what is typed meanwhile goes with the next one.
// Each write names its offset, so a write that is sent again after a lost answer arrives once. Another client that has
// the input keeps it unless the person took it.
import { Code, ConnectError } from '@connectrpc/connect'
import { shells, trouble } from '../lib/api'

/** Letters typed within this time go together. */
const GATHER = 4
const MOST = 64 * 1024

/** What became of it: nothing to say, or why it did not arrive. */
export type Typed = { wrong: string; held: boolean }

type Piece = { data: Uint8Array; take: boolean; said: (typed: Typed) => void }

export class Typist {
  private offset = 0n
  private waiting: Piece[] = []
  private busy = false

  constructor(
    private session: string,
    private exec: string,
    private writer: string,
  ) {}

  /** With `take` the input is taken from whoever has it. */
  type(piece: Piece): void {
    this.waiting.push(piece)
    if (this.busy) return
    this.busy = true
    // A single letter goes at once; only a burst is worth gathering.
    if (piece.data.length < 4) void this.write()
    else setTimeout(() => void this.write(), GATHER)
  }

  private next(): { data: Uint8Array<ArrayBuffer>; take: boolean; said: Piece['said'] } {
    const parts = this.waiting
    const size = parts.reduce((sum, one) => sum + one.data.length, 0)
    const all = new Uint8Array(size)
    let at = 0
    for (const { data } of parts) {
      all.set(data, at)
      at += data.length
    }
    const last = parts.at(-1) as Piece
    const take = parts.some((one) => one.take)
    this.waiting = size > MOST ? [{ ...last, data: all.subarray(MOST) }] : []
    return { data: size > MOST ? all.slice(0, MOST) : all, take, said: last.said }
  }

  private async write(): Promise<void> {
    while (this.waiting.length > 0) {
      const { data, take, said } = this.next()
      if (await this.deliver(data, !take, said)) continue
      // What was typed meanwhile is nobody's either.
      this.waiting = []
    }
    this.busy = false
  }

  // False when nobody takes it.
  private async deliver(data: Uint8Array<ArrayBuffer>, unlessHeld: boolean, said: Piece['said']): Promise<boolean> {
    for (;;) {
      try {
        const wish = { sessionId: this.session, execId: this.exec, offset: this.offset, data, writer: this.writer, unlessHeld }
        this.offset = (await shells.writeInput(wish)).nextOffset
        said({ wrong: '', held: false })
        return true
      } catch (thrown) {
        const error = ConnectError.from(thrown)
        if (error.code === Code.OutOfRange && this.offset > 0n) {
          // A daemon that was started anew counts from the start.
          this.offset = 0n
        } else if (error.code === Code.Unavailable || error.code === Code.Unknown) {
          said({ wrong: 'reconnecting; what you type waits', held: false })
          await new Promise((done) => setTimeout(done, 300))
        } else {
          said({ wrong: error.rawMessage, held: trouble(thrown).code === 'input_held' })
          return false
        }
      }
    }
  }
}
