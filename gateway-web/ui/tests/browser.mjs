// What every browser test needs: Debian's Chromium, a fresh profile, and a page that fails on any error of its own.
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium } from 'playwright-core'

const PLACES = [process.env.AGENTD_TEST_CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']
const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** How long anything is waited for: it ends what hangs, and measures nothing. */
export const PATIENCE = 90_000

/** Where the browser is; a missing one fails the test. */
export function program() {
  const found = PLACES.find((path) => path && existsSync(path))
  if (!found) throw new Error('no Chromium here: apt-get install chromium')
  return found
}

/** A browser with a profile of its own. */
export async function launch(options = {}) {
  const profile = mkdtempSync(join(tmpdir(), 'agentd-browser-'))
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: program(),
    args: FLAGS,
    viewport: { width: 1440, height: 900 },
    colorScheme: 'dark',
    ...options,
  })
  context.setDefaultTimeout(PATIENCE)
  const close = context.close.bind(context)
  context.close = async () => {
    await close()
    rmSync(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
  }
  return context
}

/** A page; what it complains about lands in `page.complaints`, foreign requests in `page.foreign`. */
export async function open(context, url) {
  const page = await context.newPage()
  page.complaints = []
  page.foreign = []
  page.on('console', (message) => {
    // A daemon that is down is part of some tests; the browser reports the refused request by itself.
    if (message.type() === 'error' && !/Failed to load resource|ERR_/.test(message.text())) page.complaints.push(message.text())
  })
  page.on('pageerror', (error) => page.complaints.push(String(error)))
  page.on('request', (request) => {
    const { origin, protocol } = new URL(request.url())
    if (protocol.startsWith('http') && origin !== new URL(url).origin) page.foreign.push(request.url())
  })
  await page.goto(url)
  return page
}

/** Waits until the document rests: nothing in it changed for so long. The clocks that tick once a second count as rest. */
export function settled(page, ms = 120) {
  return page.evaluate(
    (quiet) =>
      new Promise((done) => {
        const rest = () => (watch.disconnect(), done())
        let timer = setTimeout(rest, quiet)
        const watch = new MutationObserver(() => {
          clearTimeout(timer)
          timer = setTimeout(rest, quiet)
        })
        watch.observe(document, { subtree: true, childList: true, characterData: true, attributes: true })
      }),
    ms,
  )
}

/** Figures are printed always and judged only in the long form: another program on the machine is no fault of ours. */
export const figures = {
  most(name, value, limit, unit = 'ms') {
    console.log(`  ${name}: ${value} ${unit} (goal ${limit})`)
    if (process.env.AGENTD_TEST_LONG) must(value <= limit, `${name}: ${value} ${unit}, goal ${limit}`)
  },
}

/** What each page shows, for whoever reads why a test failed. */
export async function tell(...contexts) {
  for (const page of contexts.flatMap((context) => context.pages())) {
    const text = await page.locator('body').innerText({ timeout: 2000 }).catch(String)
    const typed = await page.locator('textarea').first().inputValue({ timeout: 500 }).catch(() => '')
    console.log(`--- ${page.url()}\n${text.slice(0, 3000)}\n--- in its message: ${typed}\n${[...(page.complaints ?? [])].join('\n')}`)
  }
}

/** Fails with a sentence. */
export function must(condition, sentence) {
  if (!condition) throw new Error(sentence)
}

/** Waits until something holds. */
export async function until(check, sentence, ms = PATIENCE) {
  const end = Date.now() + ms
  for (;;) {
    const found = await check()
    if (found) return found
    if (Date.now() > end) throw new Error(`not in time: ${sentence}`)
    await new Promise((done) => setTimeout(done, 20))
  }
}
