// Where the page is. The address holds all that a person would share or reload.
export type Route = { page: string; id: string; query: URLSearchParams }

/** The pages of a session beside its transcript. */
const PARTS = new Set(['shell', 'about', 'files', 'network', 'audit'])

function read(): Route {
  const { pathname, search } = window.location
  const pieces = pathname.split('/').filter(Boolean)
  const query = new URLSearchParams(search)
  if (pieces[0] === 's' && pieces[1]) {
    return { page: PARTS.has(pieces[2] ?? '') ? (pieces[2] as string) : 'session', id: decodeURIComponent(pieces[1]), query }
  }
  if (pieces[0] === 'usage' && pieces[1] === 'budgets') return { page: 'budgets', id: '', query }
  return { page: pieces[0] ?? 'sessions', id: '', query }
}

class Router {
  now = $state.raw<Route>(read())

  constructor() {
    window.addEventListener('popstate', () => (this.now = read()))
    document.addEventListener('click', (event) => this.follow(event))
  }

  /** Goes to an address of the page. */
  go(path: string, replace = false): void {
    if (replace) history.replaceState(null, '', path)
    else if (path !== location.pathname + location.search) history.pushState(null, '', path)
    this.now = read()
  }

  /** Changes the query; empty values vanish. */
  query(changes: Record<string, string>): void {
    const query = new URLSearchParams(location.search)
    for (const [key, value] of Object.entries(changes)) {
      if (value) query.set(key, value)
      else query.delete(key)
    }
    const text = query.toString()
    this.go(location.pathname + (text ? `?${text}` : ''), true)
  }

  // Links are ordinary links; only a plain click on one of ours stays inside.
  private follow(event: MouseEvent): void {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return
    const link = event.target instanceof Element ? event.target.closest('a') : null
    if (!link || link.target || link.origin !== location.origin || link.hasAttribute('download')) return
    if (link.hash && link.pathname === location.pathname) return
    event.preventDefault()
    this.go(link.pathname + link.search)
    window.scrollTo(0, 0)
  }
}

export const router = new Router()
