// The calls about a session's files. Loaded only with their page.
import { createClient } from '@connectrpc/connect'
import { WorkspaceService } from '../gen/agentd/v1/workspace_service_pb'
import { transport } from './api'

export const files = createClient(WorkspaceService, transport)

export const encode = (path: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(path) as Uint8Array<ArrayBuffer>
export const decode = (path: Uint8Array): string => new TextDecoder().decode(path)

/** The text of some bytes, or undefined where they are none. */
export function text(bytes: Uint8Array): string | undefined {
  if (bytes.includes(0)) return undefined
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return undefined
  }
}
