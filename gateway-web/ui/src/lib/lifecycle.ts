// The calls of a session's life: pause, archive, delete. Loaded only with a session's page.
import { createClient } from '@connectrpc/connect'
import { LifecycleService } from '../gen/agentd/v1/lifecycle_service_pb'
import { transport } from './api'

export const lifecycle = createClient(LifecycleService, transport)
