// Markdown to elements. Builds nodes and text nodes only, never markup from text: whatever a model or a command
// writes stays text. No images, no HTML; links go to http, https and mailto, in a new tab without a referrer.

const SAFE = /^(https?:|mailto:)/i

function el(tag: string, ...children: (Node | string)[]): HTMLElement {
  const made = document.createElement(tag)
  made.append(...children)
  return made
}

function anchor(href: string, label: string): Node {
  if (!SAFE.test(href.trim())) return document.createTextNode(label === href ? label : `${label} (${href})`)
  const made = document.createElement('a')
  made.href = href.trim()
  made.target = '_blank'
  made.rel = 'noopener noreferrer nofollow'
  made.title = href.trim()
  made.append(label)
  return made
}

// Code, bold, italic, struck, links, bare addresses: the first that matches at the earliest place wins.
const INLINE =
  /(`+)([^`]|[^`][\s\S]*?[^`])\1(?!`)|\*\*(\S|\S[\s\S]*?\S)\*\*|__(\S|\S[\s\S]*?\S)__|(?<![\w*])\*(\S|\S[^*]*?\S)\*(?!\w)|(?<!\w)_(\S|\S[^_]*?\S)_(?!\w)|~~(\S[\s\S]*?)~~|!?\[([^\]\n]*)\]\(([^)\s]+)(?:\s+"[^"]*")?\)|(https?:\/\/[^\s<>()]+[^\s<>().,;:!?'"])|\\([\\`*_{}[\]()#+.!~|-])/

function inline(text: string, depth = 0): Node[] {
  const nodes: Node[] = []
  let rest = text
  while (rest) {
    const found = depth > 6 ? null : INLINE.exec(rest)
    if (!found) break
    if (found.index > 0) nodes.push(...lines(rest.slice(0, found.index)))
    const [whole, , code, bold, bold2, italic, italic2, struck, label, href, bare, plain] = found
    if (code !== undefined) nodes.push(el('code', code.length > 2 ? code.replace(/^ (.*) $/s, '$1') : code))
    else if (bold ?? bold2) nodes.push(el('strong', ...inline((bold ?? bold2) as string, depth + 1)))
    else if (italic ?? italic2) nodes.push(el('em', ...inline((italic ?? italic2) as string, depth + 1)))
    else if (struck) nodes.push(el('s', ...inline(struck, depth + 1)))
    else if (href !== undefined) nodes.push(anchor(href, label || href))
    else if (bare) nodes.push(anchor(bare, bare))
    else if (plain) nodes.push(document.createTextNode(plain))
    rest = rest.slice(found.index + whole.length)
  }
  if (rest) nodes.push(...lines(rest))
  return nodes
}

// A line break stays one: models and people write lines, not paragraphs of flowing text.
function lines(text: string): Node[] {
  const pieces = text.split(/ *\\?\n/)
  return pieces.flatMap((piece, index) => (index ? [el('br'), document.createTextNode(piece)] : [document.createTextNode(piece)]))
}

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]*)/
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*$/
const RULE = /^ {0,3}([-*_])(\s*\1){2,}\s*$/
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/
const TABLE = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/

function block(source: string[], depth: number): Node[] {
  const nodes: Node[] = []
  let at = 0
  const next = (): string => source[at] ?? ''
  while (at < source.length) {
    const line = next()
    const fence = FENCE.exec(line)
    if (!line.trim()) {
      at += 1
    } else if (fence) {
      const [, mark = '```', language = ''] = fence
      const code: string[] = []
      at += 1
      // An open fence is a code block already: the end of a stream may still be on its way.
      while (at < source.length && !(next().trim().startsWith(mark) && next().trim().replaceAll(mark[0] ?? '`', '') === '')) {
        code.push(next())
        at += 1
      }
      at += 1
      const pre = el('pre', el('code', code.join('\n')))
      pre.tabIndex = 0
      pre.setAttribute('role', 'region')
      pre.setAttribute('aria-label', language ? `code, ${language}` : 'code')
      if (language) pre.dataset.language = language
      nodes.push(pre)
    } else if (HEADING.test(line)) {
      const [, marks = '#', text = ''] = HEADING.exec(line) ?? []
      // The page's own headings come first in the outline.
      nodes.push(el(`h${Math.min(6, marks.length + 2)}`, ...inline(text)))
      at += 1
    } else if (RULE.test(line)) {
      nodes.push(el('hr'))
      at += 1
    } else if (/^\s*>/.test(line) && depth < 5) {
      const quoted: string[] = []
      while (at < source.length && /^\s*>/.test(next())) {
        quoted.push(next().replace(/^\s*> ?/, ''))
        at += 1
      }
      nodes.push(el('blockquote', ...block(quoted, depth + 1)))
    } else if (ITEM.test(line) && depth < 8) {
      const [list, used] = items(source, at, depth)
      nodes.push(list)
      at = used
    } else if (line.includes('|') && TABLE.test(source[at + 1] ?? '') && (source[at + 1] ?? '').includes('-')) {
      const [table, used] = rows(source, at)
      nodes.push(table)
      at = used
    } else {
      const text: string[] = []
      while (at < source.length && next().trim() && !starts(next(), text.length > 0)) {
        text.push(next())
        at += 1
      }
      if (text.length === 0) {
        text.push(line)
        at += 1
      }
      nodes.push(el('p', ...inline(text.join('\n').trim())))
    }
  }
  return nodes
}

function starts(line: string, inside: boolean): boolean {
  return FENCE.test(line) || HEADING.test(line) || RULE.test(line) || /^\s*>/.test(line) || (inside && ITEM.test(line))
}

function items(source: string[], from: number, depth: number): [Node, number] {
  const [, indent = '', mark = '-'] = ITEM.exec(source[from] ?? '') ?? []
  const ordered = /\d/.test(mark)
  const list = el(ordered ? 'ol' : 'ul')
  if (ordered && parseInt(mark, 10) !== 1) list.setAttribute('start', String(parseInt(mark, 10)))
  let at = from
  while (at < source.length) {
    const found = ITEM.exec(source[at] ?? '')
    if (!found || (found[1] ?? '').length !== indent.length || /\d/.test(found[2] ?? '') !== ordered) break
    const inner = [found[3] ?? '']
    const width = indent.length + (found[2] ?? '').length + 1
    at += 1
    while (at < source.length) {
      const line = source[at] ?? ''
      const deep = line.length - line.trimStart().length > indent.length
      if (!line.trim() ? !/^\s/.test(source[at + 1] ?? '') : !deep) break
      inner.push(deep ? line.slice(Math.min(width, line.length - line.trimStart().length)) : line)
      at += 1
    }
    const content = block(inner, depth + 1)
    const [only] = content
    const tight = content.length > 0 && only instanceof HTMLElement && only.tagName === 'P'
    list.append(el('li', ...(tight ? [...only.childNodes, ...content.slice(1)] : content)))
    while (at < source.length && !(source[at] ?? '').trim() && ITEM.test(source[at + 1] ?? '')) at += 1
  }
  return [list, Math.max(at, from + 1)]
}

function rows(source: string[], from: number): [Node, number] {
  const cells = (line: string): string[] => line.trim().replace(/^\||\|$/g, '').split(/(?<!\\)\|/).map((cell) => cell.trim())
  const head = el('thead', el('tr', ...cells(source[from] ?? '').map((cell) => el('th', ...inline(cell)))))
  const body = el('tbody')
  let at = from + 2
  while (at < source.length && (source[at] ?? '').includes('|')) {
    body.append(el('tr', ...cells(source[at] ?? '').map((cell) => el('td', ...inline(cell)))))
    at += 1
  }
  const frame = el('div', el('table', head, body))
  frame.className = 'table'
  frame.tabIndex = 0
  frame.setAttribute('role', 'region')
  frame.setAttribute('aria-label', 'table')
  return [frame, at]
}

/** The elements of a text. */
export function markdown(text: string): Node[] {
  return block(text.replace(/\r\n?/g, '\n').replace(/\t/g, '    ').split('\n'), 0)
}

/** Svelte action: fills an element with a text. */
export function render(node: HTMLElement, text: string): { update: (text: string) => void } {
  node.replaceChildren(...markdown(text))
  return { update: (newer) => node.replaceChildren(...markdown(newer)) }
}
