// Typed bytes on their way: in order, one write under way, what is typed meanwhile goes with the next one.
// Each write names its offset, so a write that is sent again after a lost answer arrives once.
import { Code, ConnectError } from '@connectrpc/connect'
import { requestId, shells } from '../lib/api'

/** Letters typed within this time go together. */
const GATHER = 4
const MOST = 64 * 1024

export class Typist {
  private writer = requestId()
  private offset = 0n
  private waiting: Uint8Array[] = []
  private busy = false
  private encoder = new TextEncoder()

  constructor(
    private session: string,
    private exec: string,
    private say: (wrong: string) => void,
  ) {}

  type(text: string): void {
    this.bytes(this.encoder.encode(text))
  }

  bytes(data: Uint8Array): void {
    this.waiting.push(data)
    if (this.busy) return
    this.busy = true
    // A single letter goes at once; only a burst is worth gathering.
    if (data.length < 4) void this.write()
    else setTimeout(() => void this.write(), GATHER)
  }

  private next(): Uint8Array<ArrayBuffer> {
    const size = this.waiting.reduce((sum, one) => sum + one.length, 0)
    const all = new Uint8Array(size)
    let at = 0
    for (const one of this.waiting) {
      all.set(one, at)
      at += one.length
    }
    this.waiting = size > MOST ? [all.subarray(MOST)] : []
    return size > MOST ? all.slice(0, MOST) : all
  }

  private async write(): Promise<void> {
    while (this.waiting.length > 0 && (await this.deliver(this.next())));
    this.busy = false
  }

  // False when nobody takes it any more.
  private async deliver(data: Uint8Array<ArrayBuffer>): Promise<boolean> {
    for (;;) {
      try {
        const wish = { sessionId: this.session, execId: this.exec, offset: this.offset, data, writer: this.writer }
        this.offset = (await shells.writeInput(wish)).nextOffset
        this.say('')
        return true
      } catch (thrown) {
        const error = ConnectError.from(thrown)
        if (error.code === Code.OutOfRange && this.offset > 0n) {
          // A daemon that was started anew counts from the start.
          this.offset = 0n
        } else if (error.code === Code.Unavailable || error.code === Code.Unknown) {
          this.say('reconnecting; what you type waits')
          await new Promise((done) => setTimeout(done, 300))
        } else {
          this.say(error.rawMessage)
          this.waiting = []
          return false
        }
      }
    }
  }
}
