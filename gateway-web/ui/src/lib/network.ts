// The calls about a session's network and ports. Loaded only with its page.
import { createClient } from '@connectrpc/connect'
import { NetworkService } from '../gen/agentd/v1/network_service_pb'
import { NetworkMode } from '../gen/agentd/v1/session_pb'
import { transport } from './api'

export const network = createClient(NetworkService, transport)

export const MODES = [
  { mode: NetworkMode.OFF, name: 'off', says: 'nothing' },
  { mode: NetworkMode.ASK, name: 'ask', says: 'listed hosts, and those you approve when they are first reached for' },
  { mode: NetworkMode.LIST, name: 'list', says: 'listed hosts only' },
]
