// The board's calls. Loaded only with the page that shows it.
import { createClient } from '@connectrpc/connect'
import { TaskService } from '../gen/agentd/v1/task_service_pb'
import { transport } from './api'

export const tasks = createClient(TaskService, transport)
