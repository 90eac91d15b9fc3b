// Numbers and times as every client shows them.
import type { Duration, Timestamp } from '@bufbuild/protobuf/wkt'

/** `13.3k`: three significant digits. */
export function tokens(count: bigint | number): string {
  const n = Number(count)
  if (n < 1000) return String(n)
  const [value, unit] = n < 999_500 ? [n / 1000, 'k'] : [n / 1_000_000, 'M']
  return (value < 9.995 ? value.toFixed(2) : value < 99.95 ? value.toFixed(1) : value.toFixed(0)) + unit
}

/** `$0.04`, `<$0.01`, `$0`, `—` when the price is unknown. */
export function money(microUsd: bigint | undefined, known = true): string {
  if (microUsd === undefined || (!known && microUsd === 0n)) return '—'
  const usd = Number(microUsd) / 1e6
  const text = usd === 0 ? '$0' : usd < 0.01 ? '<$0.01' : `$${usd.toFixed(2)}`
  return known ? text : `≥${text}`
}

/** `3s`, `1m38s`, `2h05m`, `4d`. */
export function span(seconds: number): string {
  const s = Math.max(0, Math.floor(seconds))
  if (s < 60) return `${s}s`
  if (s < 3600) return `${Math.floor(s / 60)}m${String(s % 60).padStart(2, '0')}s`
  if (s < 172_800) return `${Math.floor(s / 3600)}h${String(Math.floor((s % 3600) / 60)).padStart(2, '0')}m`
  return `${Math.floor(s / 86_400)}d`
}

/** How long ago, in one unit: `14s`, `2m`, `1h`, `3d`. */
export function ago(ms: number, now: number): string {
  const s = Math.max(0, Math.floor((now - ms) / 1000))
  if (s < 60) return `${s}s`
  if (s < 3600) return `${Math.floor(s / 60)}m`
  if (s < 86_400) return `${Math.floor(s / 3600)}h`
  return `${Math.floor(s / 86_400)}d`
}

/** A duration of the contract: below ten seconds with its tenths. */
export function duration(value: Duration | undefined): string {
  if (!value) return ''
  const seconds = Number(value.seconds) + value.nanos / 1e9
  if (seconds < 1) return `${Math.round(seconds * 1000)}ms`
  return seconds < 10 ? `${seconds.toFixed(1)}s` : span(seconds)
}

/** Milliseconds since the epoch. */
export function millis(value: Timestamp | undefined): number {
  return value ? Number(value.seconds) * 1000 + Math.floor(value.nanos / 1e6) : 0
}

/** `10:44` local; with the date when it is not today. */
export function clock(ms: number): string {
  const date = new Date(ms)
  const time = date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', hour12: false })
  return date.toDateString() === new Date().toDateString() ? time : `${date.toLocaleDateString()} ${time}`
}

/** `1.2 MB`. */
export function bytes(count: bigint | number): string {
  const n = Number(count)
  if (n < 1000) return `${n} B`
  const units = ['kB', 'MB', 'GB', 'TB']
  let value = n / 1000
  let unit = 0
  while (value >= 999.5 && unit < 3) {
    value /= 1000
    unit += 1
  }
  return `${value < 10 ? value.toFixed(1) : value.toFixed(0)} ${units[unit]}`
}

/** `1 file`, `3 files`. */
export function count(n: number, one: string, many = `${one}s`): string {
  return `${n} ${n === 1 ? one : many}`
}
