// The SharedWorker around the hub: one per browser, however many tabs are open.
import { Hub, type ToHub } from './hub'

const hub = new Hub()

;(self as unknown as { onconnect: (event: MessageEvent) => void }).onconnect = (event) => {
  const port = event.ports[0]
  if (!port) return
  port.onmessage = (message: MessageEvent<ToHub>) => hub.receive(port, (answer) => port.postMessage(answer), message.data)
}
