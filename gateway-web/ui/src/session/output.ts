// How many lines a command wrote, from what the model reads of it: that begins with how the command ended.
import type { ExecResult } from '../gen/agentd/v1/event_pb'

/** What is said of a command before its output. */
const SAID = /^(exit code (\d+|unknown), |The command (hit its time limit|was interrupted)|Processes it started are still|The shell had to be restarted)/
const LEFT_OUT = /^\[\.\.\. \d+ bytes, (\d+) lines of (stdout|stderr) left out here/

/** Lines of a result; of a command's, those that it wrote. */
export function outputLines(result: string, ran: ExecResult | undefined): number {
  const lines = result.trimEnd().split('\n')
  if (!result.trim()) return 0
  if (!ran) return lines.length
  if (ran.stdoutBytes + ran.stderrBytes === 0n) return 0
  let at = 0
  while (at < lines.length && (SAID.test(lines[at] ?? '') || (ran.message && lines[at] === ran.message))) at += 1
  let more = 0
  if (lines[at] === 'stdout:' || lines[at] === 'stderr:') {
    // Both were written: the other one's name stands between them.
    if (lines[at] === 'stdout:' && lines.includes('stderr:', at)) more -= 1
    at += 1
  }
  for (const line of lines.slice(at)) more += Number(LEFT_OUT.exec(line)?.[1] ?? 1)
  return more
}
