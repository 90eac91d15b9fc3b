// The calls about policies, personas and grants. Loaded only with the pages that need them.
import { createClient } from '@connectrpc/connect'
import { CheckLevel, PolicyService } from '../gen/agentd/v1/policy_service_pb'
import { transport } from './api'

export const policies = createClient(PolicyService, transport)

export const LEVELS: Record<number, string> = { [CheckLevel.OFF]: 'off', [CheckLevel.WARN]: 'warns', [CheckLevel.ASK]: 'asks', [CheckLevel.DENY]: 'denies' }

/** How a verdict looks: never by colour alone. */
export const VERDICTS: Record<string, { glyph: string; tone: string }> = {
  allow: { glyph: '✓', tone: 'ok' },
  ask: { glyph: '!', tone: 'warn' },
  deny: { glyph: '–', tone: 'bad' },
}
