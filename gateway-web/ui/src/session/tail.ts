// The last lines of a running command, made harmless: escape sequences go, text stays text.

/** Lines that are shown live. */
const LINES = 200
const KEEP = 48 * 1024

// CSI, OSC, DCS and the short ones. What is left of control characters is dropped.
// eslint-disable-next-line no-control-regex
const ESCAPES = /\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]P^_X][\s\S]*?(?:\x07|\x1b\\|$)|\x1b[ -/]*[0-~]?/g
// eslint-disable-next-line no-control-regex
const CONTROLS = /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069]/g

/** Text as it may be shown. */
export function harmless(text: string): string {
  return text.replace(ESCAPES, '').replace(CONTROLS, '')
}

export class Tail {
  text = ''
  /** Offsets seen, by stream. */
  private offsets = new Map<number, bigint>()
  private decoders = new Map<number, TextDecoder>()
  private raw = ''

  /** Takes a chunk once, however often it comes. */
  take(stream: number, offset: bigint, data: Uint8Array): boolean {
    const seen = this.offsets.get(stream) ?? 0n
    const end = offset + BigInt(data.length)
    if (end <= seen) return false
    const fresh = offset < seen ? data.subarray(Number(seen - offset)) : data
    this.offsets.set(stream, end)
    let decoder = this.decoders.get(stream)
    if (!decoder) this.decoders.set(stream, (decoder = new TextDecoder()))
    // Only the end is ever shown; a burst of megabytes costs no more than its last part.
    const part = fresh.length > KEEP ? fresh.subarray(fresh.length - KEEP) : fresh
    this.raw = (this.raw + decoder.decode(part, { stream: true })).slice(-KEEP)
    this.text = last(this.raw)
    return true
  }
}

function last(raw: string): string {
  const lines = harmless(raw).split('\n').slice(-LINES)
  // A carriage return starts the line again, as progress bars do.
  return lines.map((line) => line.replace(/\r+$/, '').split('\r').at(-1) ?? '').join('\n')
}
