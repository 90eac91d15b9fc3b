// The fold: events of the log become the items a person reads. Pure; the same events give the same items.
import {
  ChangeKind,
  ToolCallOutcome,
  TurnOutcome,
  type Event,
  type ExecResult,
  type PlanItem,
  type TurnFinished,
} from '../gen/agentd/v1/event_pb'
import type { Approval, Part, ToolCall } from '../gen/agentd/v1/session_pb'
import { ApprovalDecision, NetworkMode, PortDirection } from '../gen/agentd/v1/session_pb'
import { duration, millis, tokens } from '../lib/format'

export type File = { path: string; kind: ChangeKind; added: number; removed: number; from: string }

type Base = { id: string; seq: bigint; time: number }
/** How far a person's message is. */
export type Stage = 'taken' | 'queued' | 'steers' | 'removed'
export type You = Base & { k: 'you'; text: string; files: string[]; by: string; stage: Stage; mark?: string }
export type Say = Base & { k: 'say'; text: string; live?: boolean }
export type Think = Base & { k: 'think'; text: string; live?: boolean }
export type Call = Base & {
  k: 'call'
  tool: string
  summary: string
  args: string
  execId: string
  script: string
  outcome: 'running' | 'waiting' | 'ok' | 'failed' | 'denied' | 'withdrawn' | 'interrupted' | 'unknown'
  result: string
  took: string
  exit: ExecResult | undefined
  changes: File[]
  decided: string
}
export type Exec = Base & { k: 'exec'; script: string; by: string; pty: boolean; result: ExecResult | undefined }
export type Note = Base & { k: 'note'; tone: 'info' | 'warn' | 'bad'; text: string; next: string[] }
export type End = Base & { k: 'end'; done: TurnFinished; word: string; tone: 'ok' | 'warn' | 'bad' }
export type Item = You | Say | Think | Call | Exec | Note | End

const OUTCOME: Record<number, Call['outcome']> = {
  [ToolCallOutcome.SUCCEEDED]: 'ok',
  [ToolCallOutcome.FAILED]: 'failed',
  [ToolCallOutcome.DENIED]: 'denied',
  [ToolCallOutcome.INTERRUPTED]: 'interrupted',
  [ToolCallOutcome.UNKNOWN]: 'unknown',
}

const END: Record<number, [string, End['tone']]> = {
  [TurnOutcome.DONE]: ['done', 'ok'],
  [TurnOutcome.INTERRUPTED]: ['interrupted', 'warn'],
  [TurnOutcome.GOAL_NOT_MET]: ['goal not met', 'warn'],
  [TurnOutcome.OVER_BUDGET]: ['over budget', 'warn'],
  [TurnOutcome.FAILED]: ['failed', 'bad'],
  [TurnOutcome.DENIED]: ['denied', 'warn'],
}

const VERDICT: Record<number, string> = {
  [ApprovalDecision.APPROVED_ONCE]: 'approved',
  [ApprovalDecision.APPROVED_SESSION]: 'approved for the session',
  [ApprovalDecision.APPROVED_PROJECT]: 'approved for the project',
  [ApprovalDecision.DENIED]: 'denied',
  [ApprovalDecision.EXPIRED]: 'denied, since nobody answered in time,',
  [ApprovalDecision.WITHDRAWN]: 'withdrawn',
}

const NETWORK: Record<number, string> = { [NetworkMode.OFF]: 'off', [NetworkMode.ASK]: 'ask', [NetworkMode.LIST]: 'list' }

function waits(steer: boolean): Stage {
  return steer ? 'steers' : 'queued'
}

/** The texts of a message, and the names of what is attached. */
export function pieces(parts: Part[]): [string[], string[]] {
  return [
    parts.flatMap(({ part }) => (part.case === 'text' ? [part.value] : [])),
    parts.flatMap(({ part }) => (part.case === 'attachment' || part.case === 'image' ? [part.value.name] : [])),
  ]
}

/** A call that never began, as one line: there is no summary of it. */
function line(call: ToolCall): string {
  let said = call.argumentsJson
  try {
    const fields = Object.entries(JSON.parse(said) as Record<string, unknown>)
    said = fields.map(([name, value]) => `${name}: ${typeof value === 'string' ? value : JSON.stringify(value)}`).join(', ')
  } catch {
    // The model wrote no JSON: it is shown as it is.
  }
  return `${call.tool} ${said}`.replace(/\s+/g, ' ').slice(0, 200)
}

export class Fold {
  items: Item[] = []
  /** Approvals asked in this window and still open. */
  open = new Map<string, Approval>()
  /** Commands with a terminal that still run. */
  terminals = new Set<string>()
  requests = new Set<string>()
  /** How many tokens filled the context at the end of each turn. */
  fills: { turn: string; seq: bigint; tokens: number; compacted?: boolean }[] = []
  /** The agent's plan as it was last said. */
  plan: PlanItem[] = []
  turn = ''
  name = ''
  private at = new Map<string, number>()
  private execs = new Map<string, string>()
  /** Calls that the model asked for and that did not begin yet. */
  private wished = new Map<string, ToolCall>()

  apply(event: Event): void {
    const { seq, body } = event
    const time = millis(event.eventTime)
    const by = `${event.principal} via ${event.client}`
    if (event.requestId) this.requests.add(event.requestId)
    switch (body.case) {
      case 'messagePosted': {
        const [texts, files] = pieces(body.value.parts)
        this.push({ k: 'you', id: body.value.messageId, seq, time, text: texts.join('\n\n'), files, by, stage: body.value.queued ? waits(body.value.steer) : 'taken' })
        break
      }
      case 'turnStarted':
        this.turn = body.value.turnId
        for (const id of body.value.messageIds) this.change<You>(id, { stage: 'taken' })
        break
      case 'turnSteered':
        for (const id of body.value.messageIds) this.change<You>(id, { stage: 'taken' })
        break
      case 'messageEdited': {
        const [texts, files] = pieces(body.value.parts)
        this.change<You>(body.value.messageId, { text: texts.join('\n\n'), files, stage: waits(body.value.steer) })
        break
      }
      case 'messageRemoved':
        this.change<You>(body.value.messageId, { stage: 'removed' })
        break
      case 'stepFinished': {
        const { parts, turnId, step, usage } = body.value
        if (usage?.tokens) this.filled(turnId, seq, Number(usage.tokens.input + usage.tokens.output))
        this.wished.clear()
        parts.forEach(({ part }, index) => {
          const id = `${turnId}/${step}/${index}`
          if (part.case === 'text' && part.value.trim()) this.push({ k: 'say', id, seq, time, text: part.value })
          if (part.case === 'reasoning' && part.value.trim()) this.push({ k: 'think', id, seq, time, text: part.value })
          if (part.case === 'toolCall') this.wished.set(part.value.callId, part.value)
        })
        break
      }
      case 'stepRetried': {
        const { attempt, maxAttempts, wait, reason } = body.value
        const text = `The model did not answer (${reason}). Try ${attempt} of ${maxAttempts} in ${duration(wait)}.`
        this.push({ k: 'note', id: `r${seq}`, seq, time, tone: 'warn', text, next: [] })
        break
      }
      case 'approvalRequested': {
        const approval = body.value.approval
        if (!approval) break
        this.open.set(approval.approvalId, approval)
        this.wished.delete(approval.callId)
        this.push({ ...this.call(approval.callId, seq, time), tool: approval.tool, summary: approval.summary, outcome: 'waiting' })
        break
      }
      case 'approvalResolved': {
        this.open.delete(body.value.approvalId)
        const rules = body.value.rules.length ? ` (${body.value.rules.join('; ')})` : ''
        const reason = `${rules}${body.value.reason ? `: ${body.value.reason}` : ''}`
        const decided = `${VERDICT[body.value.decision] ?? 'decided'} by ${by}${reason}`
        this.change<Call>(body.value.callId, { decided })
        // The turn ended before anybody answered: nothing more is said about the call.
        const known = this.find(body.value.callId)
        if (body.value.decision === ApprovalDecision.WITHDRAWN && known?.k === 'call' && known.outcome === 'waiting') this.change<Call>(known.id, { outcome: 'withdrawn' })
        break
      }
      case 'toolCallStarted': {
        const { call, summary, execId } = body.value
        if (!call) break
        const id = call.callId
        this.wished.delete(id)
        if (execId) this.execs.set(execId, id)
        const known = this.find(id) as Call | undefined
        const base = known?.k === 'call' && known.outcome === 'waiting' ? known : this.call(id, seq, time)
        this.push({ ...base, tool: call.tool, summary, args: call.argumentsJson, execId, outcome: 'running' })
        break
      }
      case 'toolCallFinished': {
        const { callId, outcome, result, duration: took } = body.value
        const ended = { outcome: OUTCOME[outcome] ?? 'unknown', result, took: duration(took) }
        // The policy denied it, or it could not begin: this is the first that is heard of it.
        const wish = this.wished.get(callId)
        if (wish) {
          this.wished.delete(callId)
          this.push({ ...this.call(callId, seq, time), tool: wish.tool, summary: line(wish), args: wish.argumentsJson, ...ended, decided: result.split('\n', 1)[0] ?? '' })
        } else this.change<Call>(callId, ended)
        break
      }
      case 'execStarted': {
        const { execId, script, callId, pty } = body.value
        if (callId) {
          this.execs.set(execId, callId)
          this.change<Call>(callId, { execId, script })
          break
        }
        if (pty) this.terminals.add(execId)
        this.push({ k: 'exec', id: execId, seq, time, script, by, pty, result: undefined })
        break
      }
      case 'execFinished': {
        const { execId, result } = body.value
        this.terminals.delete(execId)
        const call = this.execs.get(execId)
        if (call) this.change<Call>(call, { exit: result })
        else this.change<Exec>(execId, { result })
        break
      }
      case 'changeRecorded': {
        const { callId, path, kind, addedLines, removedLines, fromPath } = body.value
        const known = this.find(callId)
        if (known?.k !== 'call') break
        const file: File = { path, kind, added: addedLines, removed: removedLines, from: fromPath }
        this.change<Call>(callId, { changes: [...known.changes, file] })
        break
      }
      case 'turnFinished': {
        this.turn = ''
        this.open.clear()
        const [word, tone] = END[body.value.outcome] ?? ['ended', 'warn']
        this.push({ k: 'end', id: `e${seq}`, seq, time, done: body.value, word, tone })
        break
      }
      case 'noticeRecorded':
        this.note(seq, time, 'warn', body.value.message)
        break
      case 'sessionRenamed':
        this.name = body.value.name
        this.note(seq, time, 'info', `Named ${body.value.name} by ${by}`)
        break
      case 'sessionPaused':
      case 'sessionResumed':
      case 'sessionArchived':
      case 'sessionUnarchived':
      case 'sessionDeleted':
      case 'sessionRestored': {
        const why = body.case === 'sessionPaused' && body.value.reason ? `: ${body.value.reason}` : ''
        const words = `${body.case.slice('session'.length)} by ${by}${why}`
        this.note(seq, time, 'info', words)
        break
      }
      case 'sessionForked':
      case 'sessionImported': {
        const how = body.case === 'sessionForked' ? 'Forked' : 'Imported'
        const text = `${how}: all before is ${body.value.sessionId} up to ${body.value.seq}`
        this.note(seq, time, 'info', text)
        break
      }
      case 'redacted': {
        const text = `${body.value.seqs.length} earlier texts were taken out for good; reload to read what is left`
        this.note(seq, time, 'info', text)
        break
      }
      case 'planUpdated':
        this.plan = body.value.items
        break
      case 'contextAdded': {
        const said = body.value.items.map((one) => `${one.name}${one.hiddenCharacters ? ` (${one.hiddenCharacters} hidden characters!)` : ''}`)
        const hidden = body.value.items.some((one) => one.hiddenCharacters > 0)
        if (said.length) this.note(seq, time, hidden ? 'warn' : 'info', `Read beside the words: ${said.join(', ')}`)
        break
      }
      case 'compactionRequested':
        this.note(seq, time, 'info', `${by} asked for the context to be compacted`)
        break
      case 'contextCompacted': {
        const { beforeTokens, afterTokens, beforeMessages, afterMessages } = body.value
        this.note(seq, time, 'info', `Context compacted: ${tokens(beforeTokens)} to ${tokens(afterTokens)} tokens, ${beforeMessages} to ${afterMessages} messages; the log keeps all`)
        const last = this.fills.at(-1)
        if (last) last.compacted = true
        break
      }
      case 'networkChosen':
        this.note(seq, time, 'info', `Network: ${NETWORK[body.value.mode] ?? '?'}, chosen by ${by}`)
        break
      case 'portOpened':
      case 'portClosed': {
        const door = body.value.door
        if (!door) break
        const what = door.direction === PortDirection.FORWARD ? `Port ${door.port} of the jail` : `Port ${door.localPort} of this machine`
        this.note(seq, time, 'info', `${what} ${body.case === 'portOpened' ? (door.direction === PortDirection.FORWARD ? `is open at 127.0.0.1:${door.localPort}` : 'is reachable inside') : 'is closed'}`)
        break
      }
      case 'connectionsRecorded':
        for (const one of body.value.connections) if (one.refusal) this.note(seq, time, 'warn', `${one.program || 'A program'} was refused ${one.host}:${one.port}: ${one.refusal}`, `${seq}/${one.host}:${one.port}`)
        break
      case 'modelChosen':
        this.note(seq, time, 'info', `Model: ${body.value.model}`)
        break
      case 'personaChosen':
        this.note(seq, time, 'info', `Persona ${body.value.persona}, policy ${body.value.policy}${body.value.readOnly ? ', the workspace read-only' : ''}, chosen by ${by}`)
        break
      case 'taskChosen':
        this.note(seq, time, 'info', body.value.taskId ? `Task: ${body.value.taskId}` : 'No task')
        break
      case 'sessionCreated': {
        const where = body.value.session?.workspace ?? ''
        this.note(seq, time, 'info', `Session on ${where}, made by ${by}`)
        break
      }
      default:
        // A fact of a newer daemon: the cursor moves on, nothing is shown.
        break
    }
  }

  private note(seq: bigint, time: number, tone: Note['tone'], text: string, id = `n${seq}`): void {
    this.push({ k: 'note', id, seq, time, tone, text, next: [] })
  }

  private filled(turn: string, seq: bigint, tokens: number): void {
    if (this.fills.at(-1)?.turn === turn) this.fills.pop()
    this.fills.push({ turn, seq, tokens })
  }

  private call(id: string, seq: bigint, time: number): Call {
    const empty = { tool: '', summary: '', args: '', execId: '', script: '', result: '', took: '', decided: '' }
    return { k: 'call', id: this.free(id), seq, time, ...empty, outcome: 'running', exit: undefined, changes: [] }
  }

  // Call ids are unique within a turn only: an older one of the same name steps aside.
  private free(id: string): string {
    const index = this.at.get(id)
    const old = index === undefined ? undefined : this.items[index]
    if (old && index !== undefined) {
      this.items[index] = { ...old, id: `${id}@${old.seq}` }
      this.at.set(`${id}@${old.seq}`, index)
      this.at.delete(id)
    }
    return id
  }

  private find(id: string): Item | undefined {
    const index = this.at.get(id)
    return index === undefined ? undefined : this.items[index]
  }

  private push(item: Item): void {
    const index = this.at.get(item.id)
    if (index !== undefined) {
      this.items[index] = item
      return
    }
    this.at.set(item.id, this.items.length)
    this.items.push(item)
  }

  private change<T extends Item>(id: string, changes: Partial<T>): void {
    const index = this.at.get(id)
    const old = index === undefined ? undefined : this.items[index]
    if (old && index !== undefined) this.items[index] = { ...old, ...changes } as Item
  }
}
