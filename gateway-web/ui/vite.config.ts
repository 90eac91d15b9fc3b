// How the page is built: small chunks, stable names, nothing inline (the content policy forbids it).
import { readFileSync } from 'node:fs'
import { svelte } from '@sveltejs/vite-plugin-svelte'
import { defineConfig, type Plugin } from 'vite'

// The worker as one more entry of the same build: what it and the page both need is one file, loaded once. Vite's own
// way builds it apart, with everything in it a second time.
const worker: Plugin = {
  name: 'shared-worker',
  resolveId: (id) => (id === 'virtual:worker' ? `\0${id}` : undefined),
  load(id) {
    if (id !== '\0virtual:worker') return
    const file = this.emitFile({ type: 'chunk', id: 'src/link/worker.ts', name: 'worker' })
    return `export default import.meta.ROLLUP_FILE_URL_${file}`
  },
}

// What runs before anything is painted is a script of its own (the content policy forbids it inside the document), under
// a name that may be kept for ever: nothing waits for it the next time. And what a session's page is made of is named in
// the document: its chunk is else asked for only once the first one runs.
const ahead: Plugin = {
  name: 'ahead',
  enforce: 'post',
  generateBundle(_, bundle) {
    const chunks = Object.values(bundle).filter((one) => one.type === 'chunk')
    const page = bundle['index.html']
    const entry = chunks.find((one) => one.isEntry && one.name === 'index')
    const first = chunks.find((one) => one.facadeModuleId?.endsWith('/pages/Session.svelte'))
    if (page?.type !== 'asset' || !entry || !first) return this.error('the page has no session')
    const known = new Set<string>()
    const all = new Set<string>()
    const reach = (name: string, into: Set<string>): void => {
      const chunk = bundle[name]
      if (chunk?.type !== 'chunk' || into.has(name) || known.has(name)) return
      into.add(name)
      for (const style of chunk.viteMetadata?.importedCss ?? []) into.add(style)
      for (const next of chunk.imports) reach(next, into)
    }
    reach(entry.fileName, known)
    reach(first.fileName, all)
    const names = [...all].map((name) => `/${name}`).sort()
    const theme = this.getFileName(this.emitFile({ type: 'asset', name: 'theme.js', source: readFileSync('src/theme.js', 'utf8') }))
    page.source = String(page.source)
      .replace('</title>', `</title>\n    <meta name="agentd-session" content="${names.join(' ')}" />`)
      .replace('<script src="/theme.js">', `<script src="/${theme}">`)
  },
}

export default defineConfig({
  plugins: [svelte(), worker, ahead],
  build: {
    target: 'es2022',
    outDir: 'dist',
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
})
