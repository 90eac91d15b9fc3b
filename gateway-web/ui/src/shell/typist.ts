// Typed bytes on their way: in order, one write under way, what is typed meanwhile goes with the next one.
// Each write names its offset, so a write that is sent again after a lost answer arrives once.
import { Code, ConnectError } from '@connectrpc/connect'
import { shells } from '../lib/api'

/** Letters typed within this time go together. */
const GATHER = 4
const MOST = 64 * 1024

export class Typist {
  private offset: bigint | undefined
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
    if (this.waiting.length === 1 && data.length < 4) void this.write()
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
    try {
      while (this.waiting.length > 0) {
        const data = this.next()
        let tries = 0
        for (;;) {
          try {
            const offset = this.offset ?? (await this.start())
            const done = await shells.writeInput({ sessionId: this.session, execId: this.exec, offset, data })
            this.offset = done.nextOffset
            this.say('')
            break
          } catch (thrown) {
            const error = ConnectError.from(thrown)
            // Somebody else typed meanwhile: look where the end is now.
            if (error.code === Code.OutOfRange && tries < 5) this.offset = undefined
            else if (error.code === Code.Unavailable || error.code === Code.Unknown) {
              this.say('reconnecting; what you type waits')
              await new Promise((done) => setTimeout(done, 300))
            } else {
              this.say(error.rawMessage)
              this.waiting = []
              return
            }
            tries += 1
          }
        }
      }
    } finally {
      this.busy = false
    }
  }

  // The next offset is only known to the daemon: its refusal of a wrong one, or its answer to an empty one, says it.
  private async start(): Promise<bigint> {
    try {
      const answer = await shells.writeInput({ sessionId: this.session, execId: this.exec, offset: 0n, data: new Uint8Array() })
      return answer.nextOffset
    } catch (thrown) {
      const found = /\d+/.exec(ConnectError.from(thrown).rawMessage)
      if (ConnectError.from(thrown).code === Code.OutOfRange && found) return BigInt(found[0])
      throw thrown
    }
  }
}
