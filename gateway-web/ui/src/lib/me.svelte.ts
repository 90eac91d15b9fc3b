// Who this browser is and what it may do. What it may not do is not shown; the daemon checks anyway.
import { Scope, type Device } from '../gen/agentd/v1/account_service_pb'
import { accounts, trouble } from './api'

class Me {
  scopes = $state.raw<Scope[]>([])
  device = $state.raw<Device | undefined>(undefined)
  principal = $state('')
  version = $state('')
  denied = $state(false)
  known = $state(false)

  drive = $derived(this.scopes.includes(Scope.DRIVE))
  approve = $derived(this.scopes.includes(Scope.APPROVE))
  admin = $derived(this.scopes.includes(Scope.ADMIN))

  async load(): Promise<void> {
    for (;;) {
      try {
        const answer = await accounts.getCaller({})
        this.scopes = answer.scopes
        this.device = answer.device
        this.principal = answer.principal
        this.version = answer.version
        this.known = true
        return
      } catch (thrown) {
        const why = trouble(thrown)
        if (why.denied) {
          this.denied = true
          return
        }
        await new Promise((done) => setTimeout(done, 1500))
      }
    }
  }
}

export const me = new Me()
