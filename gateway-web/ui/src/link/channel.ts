// How a tab talks to the hub: a SharedWorker, or the leading tab over a BroadcastChannel.
import workerUrl from 'virtual:worker'
import { Hub, type FromHub, type ToHub } from './hub'

type Policy = { createScriptURL: (url: string) => unknown }
type Factory = { createPolicy: (name: string, rules: { createScriptURL: (url: string) => string }) => Policy }

// Trusted Types: the only script address this page ever makes is its own worker's.
function trusted(url: string): string {
  const factory = (window as unknown as { trustedTypes?: Factory }).trustedTypes
  if (!factory) return url
  const policy = factory.createPolicy('agentd', {
    createScriptURL: (wanted) => {
      if (wanted !== workerUrl) throw new TypeError('not our worker')
      return wanted
    },
  })
  return policy.createScriptURL(url) as string
}

/** Opens the way to the hub; gives the sender. */
export function open(receive: (message: FromHub) => void): (message: ToHub) => void {
  if (typeof SharedWorker === 'function') {
    try {
      const worker = new SharedWorker(trusted(workerUrl), { type: 'module', name: 'agentd' })
      worker.port.onmessage = (event: MessageEvent<FromHub>) => receive(event.data)
      return (message) => worker.port.postMessage(message)
    } catch {
      // Some private windows have the constructor and refuse it.
    }
  }
  return broadcast(receive)
}

type Wire = { to: 'hub'; from: string; up: ToHub } | { to: string; from: 'hub'; down: FromHub } | { to: 'all'; from: 'hub' }

function broadcast(receive: (message: FromHub) => void): (message: ToHub) => void {
  const me = Math.random().toString(36).slice(2)
  const channel = new BroadcastChannel('agentd')
  let hub: Hub | undefined
  let last: ToHub | undefined
  const send = (up: ToHub): void => {
    if (up.t === 'want') last = up
    if (hub) hub.receive(me, receive, up)
    else channel.postMessage({ to: 'hub', from: me, up } satisfies Wire)
  }
  channel.onmessage = (event: MessageEvent<Wire>) => {
    const wire = event.data
    if ('up' in wire && hub) {
      const to = wire.from
      hub.receive(to, (down) => channel.postMessage({ to, from: 'hub', down } satisfies Wire), wire.up)
    } else if (wire.to === me && 'down' in wire) {
      receive(wire.down)
    } else if (wire.to === 'all' && last) {
      send(last)
    }
  }
  const lead = (): void => {
    hub = new Hub()
    if (last) send(last)
    // A new leader knows nobody yet.
    channel.postMessage({ to: 'all', from: 'hub' } satisfies Wire)
  }
  if (navigator.locks) void navigator.locks.request('agentd', () => (lead(), new Promise<never>(() => undefined)))
  else lead()
  return send
}
