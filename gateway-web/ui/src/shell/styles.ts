// xterm.js writes its colours into <style> elements, which our content policy forbids. It asks a document for
// them; this one gives it elements whose text goes into a constructed style sheet instead.

function sheetStyle(real: Document): HTMLElement {
  const element = real.createElement('style')
  const sheet = new CSSStyleSheet()
  real.adoptedStyleSheets = [...real.adoptedStyleSheets, sheet]
  Object.defineProperty(element, 'textContent', { get: () => '', set: (css: string) => sheet.replaceSync(css) })
  const remove = element.remove.bind(element)
  element.remove = () => {
    real.adoptedStyleSheets = real.adoptedStyleSheets.filter((one) => one !== sheet)
    remove()
  }
  return element
}

/** The document, but for style elements. */
export function documentOf(real: Document): Document {
  return new Proxy(real, {
    get(target, key) {
      if (key === 'createElement') {
        return (tag: string) => (tag.toLowerCase() === 'style' ? sheetStyle(target) : target.createElement(tag))
      }
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
