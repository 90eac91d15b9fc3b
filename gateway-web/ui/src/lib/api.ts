// The calls to the daemon, through the gateway that served this page.
import { Code, ConnectError, createClient, type Interceptor } from '@connectrpc/connect'
import { createGrpcWebTransport } from '@connectrpc/connect-web'
import { AccountService } from '../gen/agentd/v1/account_service_pb'
import { ApprovalService } from '../gen/agentd/v1/approval_service_pb'
import { DaemonService } from '../gen/agentd/v1/daemon_service_pb'
import { SessionService } from '../gen/agentd/v1/session_service_pb'
import { ShellService } from '../gen/agentd/v1/shell_service_pb'

// A foreign page can't send this header without asking first, and nobody answers it.
const csrf: Interceptor = (next) => (request) => {
  request.header.set('x-agentd-csrf', '1')
  return next(request)
}

export const transport = createGrpcWebTransport({ baseUrl: self.location.origin, interceptors: [csrf] })

// Pure, so that the worker carries only those that it uses.
export const sessions = /* @__PURE__ */ createClient(SessionService, transport)
export const shells = /* @__PURE__ */ createClient(ShellService, transport)
export const approvals = /* @__PURE__ */ createClient(ApprovalService, transport)
export const daemon = /* @__PURE__ */ createClient(DaemonService, transport)
export const accounts = /* @__PURE__ */ createClient(AccountService, transport)

/** What went wrong, as a person reads it. */
export type Trouble = { code: string; message: string; next: string[]; lost: boolean; denied: boolean }

/** Turns whatever a call threw into a sentence, a code and next steps. */
export function trouble(thrown: unknown): Trouble {
  const error = ConnectError.from(thrown)
  const lost = error.code === Code.Unavailable || (error.code === Code.Unknown && !error.metadata.has('grpc-status'))
  const named = detail(error, 'google.rpc.ErrorInfo')[0]?.toLowerCase()
  // A missing key of a model's provider is "unauthenticated" too, and no matter of this browser.
  const denied = error.code === Code.Unauthenticated && (named === undefined || named === 'token_refused')
  const code = named ?? Code[error.code].toLowerCase()
  const next = lost ? ['systemctl --user start agentd', 'agentctl daemon start'] : detail(error, 'google.rpc.Help')
  return { code, message: error.rawMessage || 'the connection broke', next, lost, denied }
}

/** The same in one line, where there is no room for more. */
export function sentence(why: Trouble): string {
  return `${why.message} [${why.code}]${why.next.length ? ` · next: ${why.next.join(' · ')}` : ''}`
}

// What the daemon adds to a refusal, as it is in a google.rpc.Status: the reason, and links whose descriptions are the
// next steps. Reading their few bytes by hand spares the whole schema.
function detail(error: ConnectError, type: string): string[] {
  const text = new TextDecoder()
  return error.details.flatMap((one) => {
    if (!('type' in one) || one.type !== type) return []
    const firsts = first(one.value)
    return (type === 'google.rpc.Help' ? firsts.flatMap(first) : firsts.slice(0, 1)).map((bytes) => text.decode(bytes))
  })
}

/** The fields numbered 1 of a message whose fields all have a length. */
function first(bytes: Uint8Array): Uint8Array[] {
  const found: Uint8Array[] = []
  for (let at = 0; at < bytes.length; ) {
    const tag = bytes[at++]
    let length = 0
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++] ?? 0
      length |= (byte & 127) << shift
      if (byte < 128) break
    }
    if (tag === 10) found.push(bytes.subarray(at, at + length))
    at += length
  }
  return found
}

/** A POST outside the contract: sign-in and sign-out. */
export function post(path: string, body: unknown): Promise<Response> {
  return fetch(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-agentd-csrf': '1' },
    body: JSON.stringify(body),
  })
}

/** An id that makes a call safe to repeat. Also where `crypto.randomUUID` is missing (plain http on a name). */
export function requestId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20)}`
}
