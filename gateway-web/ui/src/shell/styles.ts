// xterm.js makes <style> elements for its colours and sizes, which our content policy forbids. While it opens, the
// document gives it stand-ins whose text goes into a constructed style sheet instead: allowed, and gone with it.

function standIn(make: typeof document.createElement): HTMLElement {
  // Even an empty style element counts as inline style: this one is none.
  const element = make.call(document, 'template')
  const sheet = new CSSStyleSheet()
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet]
  Object.defineProperty(element, 'textContent', { get: () => '', set: (css: string) => sheet.replaceSync(css) })
  const remove = element.remove.bind(element)
  element.remove = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((one) => one !== sheet)
    remove()
  }
  return element
}

/** Runs `open` with style elements replaced. */
export function withoutInlineStyles(open: () => void): void {
  const make = document.createElement
  const patched = (tag: string, options?: ElementCreationOptions): HTMLElement =>
    tag === 'style' ? standIn(make) : make.call(document, tag, options)
  document.createElement = patched as typeof make
  try {
    open()
  } finally {
    document.createElement = make
  }
}
