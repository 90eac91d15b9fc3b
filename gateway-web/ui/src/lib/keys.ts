// The keys, as data: the handler, the palette and the help read this one table.
import { router } from './route.svelte'

export type Action = { keys: string[]; name: string; where: string; letter: boolean; run?: () => void }

const go = (path: string) => (): void => router.go(path)

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
  { keys: ['Ctrl F'], name: 'Find in the whole session; twice is the browser’s own find', where: 'Session', letter: false },
  { keys: ['Ctrl .'], name: 'Interrupt the turn', where: 'Session', letter: false },
  { keys: ['Tab', 'Space'], name: 'Reach and press Deny or Approve', where: 'Approval', letter: false },
  { keys: ['Space', '← →'], name: 'Pick a task up and drop it; choose the column', where: 'Tasks', letter: false },
  { keys: ['Ctrl ]', 'Esc Esc'], name: 'Leave the terminal', where: 'Shell', letter: false },
]

/** True while letters belong to what is typed in. */
export function typing(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) || target.closest('.xterm') !== null)
}
