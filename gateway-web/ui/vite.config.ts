// How the page is built: small chunks, stable names, nothing inline (the content policy forbids it).
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

export default defineConfig({
  plugins: [svelte(), worker],
  build: {
    target: 'es2022',
    outDir: 'dist',
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
})
