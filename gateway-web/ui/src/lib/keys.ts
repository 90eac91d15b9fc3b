// The keys, as data: the handler, the palette and the help read this one table.
import { router } from './route.svelte'

export type Action = { keys: string[]; name: string; where: string; letter: boolean; run?: () => void }

const go = (path: string) => (): void => router.go(path)

/** A place of the session that is open. */
const inside = (part: string) => (): void => router.go(`/s/${router.now.id}${part}`)
/** What its own page does on these keys. */
const press = (key: string) => (): void => void window.dispatchEvent(new KeyboardEvent('keydown', { key, ctrlKey: true }))
function menu(): void {
  const more = document.querySelector<HTMLDetailsElement>('header details')
  if (!more) return
  more.open = true
  more.querySelector<HTMLElement>('button')?.focus()
}

export const ACTIONS: Action[] = [
  { keys: ['g s'], name: 'Go to sessions', where: 'Everywhere', letter: true, run: go('/sessions') },
  { keys: ['g t'], name: 'Go to the task board', where: 'Everywhere', letter: true, run: go('/tasks') },
  { keys: ['g a'], name: 'Go to approvals', where: 'Everywhere', letter: true, run: go('/approvals') },
  { keys: ['g u'], name: 'Go to usage', where: 'Everywhere', letter: true, run: go('/usage') },
  { keys: ['g b'], name: 'Go to budgets and alerts', where: 'Everywhere', letter: true, run: go('/usage/budgets') },
  { keys: ['g f'], name: 'Search in all sessions', where: 'Everywhere', letter: true, run: go('/search') },
  { keys: ['g m'], name: 'Go to models and keys', where: 'Everywhere', letter: true, run: go('/models') },
  { keys: ['g p'], name: 'Go to policies, and try a command against them', where: 'Everywhere', letter: true, run: go('/policies') },
  { keys: ['g n'], name: 'Go to personas', where: 'Everywhere', letter: true, run: go('/personas') },
  { keys: ['g h'], name: 'Go to archived sessions and the trash', where: 'Everywhere', letter: true, run: go('/hidden') },
  { keys: ['g d'], name: 'Go to daemon health', where: 'Everywhere', letter: true, run: go('/daemon') },
  { keys: ['g c'], name: 'Go to settings and devices', where: 'Everywhere', letter: true, run: go('/settings') },
  { keys: ['?'], name: 'Help', where: 'Everywhere', letter: true, run: go('/help') },
  { keys: ['Ctrl K', '⌘ K'], name: 'Find an action or a session', where: 'Everywhere', letter: false },
  { keys: ['/'], name: 'Search sessions', where: 'Sessions', letter: true, run: go('/sessions?find=1') },
  { keys: ['n'], name: 'New session', where: 'Everywhere', letter: true, run: go('/sessions?new=1') },
  { keys: ['i'], name: 'Import a session', where: 'Sessions', letter: true, run: go('/sessions?import=1') },
  { keys: ['j', 'k'], name: 'Next, previous session', where: 'Sessions', letter: true },
  { keys: ['Enter'], name: 'Open the session', where: 'Sessions', letter: false },
  { keys: ['Enter'], name: 'Send the message; Shift Enter is a new line', where: 'Composer', letter: false },
  { keys: ['Ctrl F'], name: 'Find in the whole session; twice is the browser’s own find', where: 'Session', letter: false, run: press('f') },
  { keys: ['Ctrl .'], name: 'Interrupt the turn', where: 'Session', letter: false, run: press('.') },
  { keys: ['['], name: 'Its transcript', where: 'Session', letter: true, run: inside('') },
  { keys: [']'], name: 'Its shell', where: 'Session', letter: true, run: inside('/shell') },
  { keys: ['.'], name: 'More about this session: pause, rename, fork, archive', where: 'Session', letter: true, run: menu },
  { keys: ['v f'], name: 'Its files', where: 'Session', letter: true, run: inside('/files') },
  { keys: ['v n'], name: 'Its network', where: 'Session', letter: true, run: inside('/network') },
  { keys: ['v a'], name: 'What it did, for an audit', where: 'Session', letter: true, run: inside('/audit') },
  { keys: ['v c'], name: 'Its context and limits', where: 'Session', letter: true, run: inside('/about') },
  { keys: ['Tab', 'Space'], name: 'Reach and press Deny or Approve', where: 'Approval', letter: false },
  { keys: ['Space', '← →'], name: 'Pick a task up and drop it; choose the column', where: 'Tasks', letter: false },
  { keys: ['Ctrl ]', 'Esc Esc'], name: 'Leave the terminal', where: 'Shell', letter: false },
]

/** Whether there is something to do it with. */
export function applies(action: Action): boolean {
  if (action.where !== 'Session') return true
  return router.now.id !== '' && (action.letter || router.now.page === 'session')
}

/** True while letters belong to what is typed in. */
export function typing(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) || target.closest('.xterm') !== null)
}
