// Every page in both themes and both widths: axe finds nothing, nothing scrolls sideways, targets are large enough
// on a phone; and the pictures for the documentation, when SCREENS names a directory.
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { launch, must, open, settled, until } from './browser.mjs'

const { AGENTCTL, WORKSPACE, SCREENS } = process.env
const ctl = (...args) => execFileSync(AGENTCTL, args, { encoding: 'utf8' })
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

// Something to show: a finished turn, one that waits for an answer, one that failed, a shell.
ctl('sessions', 'new', '--model', 'demo', '--name', 'fix-slug', '-C', WORKSPACE)
ctl('sessions', 'new', '--model', 'demo', '--name', 'release', '-C', WORKSPACE)
ctl('sessions', 'new', '--model', 'demo', '--name', 'docs-sweep', '-C', WORKSPACE)

const SIZES = [
  ['wide', { width: 1440, height: 900 }],
  ['phone', { width: 390, height: 844 }],
]
const THEMES = ['dark', 'light', 'contrast']
const bad = []

const first = await launch({ bypassCSP: false })
const page = await open(first, ctl('web', 'url').trim())
await page.waitForURL('**/sessions')
const origin = new URL(page.url()).origin
const id = (name) => JSON.parse(ctl('sessions', 'list', '-o', 'json')).find((one) => one.name === name)?.session_id ?? JSON.parse(ctl('sessions', 'list', '-o', 'json')).find((one) => one.name === name)?.id
async function post(name, text) {
  await page.goto(`${origin}/s/${id(name)}`)
  await page.getByLabel('Message', { exact: true }).fill(text)
  await page.keyboard.press('Enter')
}
await post('fix-slug', 'The tests fail. Find out why and fix it.')
const wish = page.getByRole('region', { name: /^Approval a-/ })
await wish.waitFor()
ctl('approve', (await wish.getAttribute('aria-label')).split(' ')[1])
await page.getByText('done', { exact: true }).waitFor()
await post('docs-sweep', 'demo:\nthink\nsay The guide names three settings that are gone.\nfail')
await page.locator('article.say, .fin').first().waitFor()
await post('release', 'demo:\nthink\nrun ls -la && head -5 README.md\nsay Next I note how the tests are run.\nask')
await page.getByRole('region', { name: /^Approval a-/ }).waitFor()

for (const name of ['an-old-one', 'a-wrong-one']) ctl('sessions', 'new', '--model', 'demo', '--name', name, '-C', WORKSPACE)
ctl('sessions', 'archive', 'an-old-one')
ctl('sessions', 'delete', 'a-wrong-one', '--yes')

ctl('tasks', 'add', 'Say what is wrong with a slug', '--priority', 'High', '-C', WORKSPACE)
ctl('tasks', 'add', 'Name the longest title that fits', '-C', WORKSPACE)
ctl('tasks', 'move', 'T-1', 'in-progress', '-C', WORKSPACE)

ctl('usage', 'budget', 'set', '500000 tokens', '--per', 'day')
ctl('usage', 'budget', 'set', '$10', '--per', 'day')

const PAGES = [
  ['new', '/sessions?new=1', 'Sessions'],
  ['none', '/sessions?q=no+such+session', 'Sessions'],
  ['sessions', '/sessions', 'Sessions'],
  ['session', `/s/${id('fix-slug')}`, 'fix-slug'],
  ['approval', `/s/${id('release')}`, 'release'],
  ['shell', `/s/${id('fix-slug')}/shell`, 'fix-slug'],
  ['tasks', '/tasks', 'Tasks'],
  ['approvals', '/approvals', 'Approvals'],
  ['usage', '/usage', 'Usage'],
  ['budgets', '/usage/budgets', 'Budgets'],
  ['daemon', '/daemon', 'Daemon'],
  ['settings', '/settings', 'Settings'],
  ['help', '/help', 'Help'],
  ['find', `/s/${id('fix-slug')}?find=slug`, 'fix-slug'],
  ['about', `/s/${id('fix-slug')}/about`, 'fix-slug'],
  ['files', `/s/${id('fix-slug')}/files?file=README.md`, 'fix-slug'],
  ['network', `/s/${id('fix-slug')}/network`, 'fix-slug'],
  ['audit', `/s/${id('fix-slug')}/audit`, 'fix-slug'],
  ['search', '/search?q=slug', 'Search'],
  ['archived', '/hidden', 'Archived'],
  ['trash', '/hidden?show=trash', 'Trash'],
  ['models', '/models', 'Models'],
  ['policies', '/policies?command=ls%20%26%26%20git%20push%20--force&rule=deny%20executes%3A%20git%20push%20*', 'Policies'],
  ['personas', '/personas', 'Personas'],
  ['pair', '/pair', 'Sign in'],
]
await page.goto(`${origin}/s/${id('fix-slug')}/shell`)
await page.getByRole('button', { name: 'Open a shell' }).click()
const screen = () => page.evaluate(() => {
  const terminal = document.querySelector('.term .box')?.terminal
  const rows = terminal?.buffer.active.length ?? 0
  return Array.from({ length: rows }, (_, row) => terminal.buffer.active.getLine(row)?.translateToString(true) ?? '').join('\n')
})
await until(async () => /[$#] *$/.test((await screen()).trimEnd() + ' '), 'a prompt')
await page.locator('.xterm-helper-textarea').focus()
await page.keyboard.type('git --version; ls --color src tests; make test\n')
await until(async () => /passed/.test(await screen()), 'the tests of the demo project')

// Before anything is painted: another theme never flashes.
for (const theme of THEMES) {
  await page.evaluate((value) => localStorage.setItem('agentd.theme', value), theme)
  await page.goto(`${origin}/settings`)
  must((await page.evaluate(() => document.documentElement.dataset.theme)) === theme, `${theme} is not there at load`)
}
await page.close()

// Colours alone differ between themes: the other rules, widths and targets are looked at once.
const COLOURS = { runOnly: { type: 'rule', values: ['color-contrast', 'link-in-text-block'] } }
const cookies = await first.cookies()
async function look(size, viewport) {
  const context = size === 'wide' ? first : await launch({ viewport, hasTouch: true, isMobile: true, deviceScaleFactor: 2 })
  await context.addCookies(cookies)
  const one = await context.newPage()
  await one.addInitScript(() => localStorage.setItem('agentd.theme', 'dark'))
  for (const [name, path, title] of PAGES) {
    await one.goto(origin + path)
    await one.getByRole('heading', { level: 1, name: title }).waitFor()
    if (name === 'shell') await one.waitForFunction(() => document.querySelector('.term .box')?.terminal?.buffer.active.cursorY > 0)
    // The other width had it before: line follows line here too.
    if (name === 'shell') {
      const lines = () => one.evaluate(() => {
        const { active } = document.querySelector('.term .box').terminal.buffer
        return Array.from({ length: active.length }, (_, row) => active.getLine(row)?.translateToString(true).trimEnd() ?? '')
      })
      await until(async () => /make test\ngit version [^\n]*\nsrc:\n/.test((await lines()).join('\n')), `the lines of the shell, ${size}`, 20_000).catch(async (thrown) => {
        throw new Error(`${thrown.message}: ${JSON.stringify(await lines())}`)
      })
    }
    await settled(one)
    // Evaluated, not added as an element: the page's own policy stays in force.
    await one.evaluate(axe)
    for (const theme of THEMES) {
      const where = `${name} ${size} ${theme}`
      await one.evaluate((value) => (document.documentElement.dataset.theme = value), theme)
      const found = await one.evaluate(async (rules) => (await window.axe.run(document, rules)).violations, theme === THEMES[0] ? {} : COLOURS)
      for (const each of found) bad.push(`${where}: ${each.id} (${each.impact}): ${each.nodes.slice(0, 3).map((node) => `${node.html.slice(0, 120)} ${node.any[0]?.message ?? ''}`).join(' | ')}`)
      if (SCREENS && (theme !== 'contrast' || name === 'session')) {
        mkdirSync(SCREENS, { recursive: true })
        await one.screenshot({ path: `${SCREENS}/${name}-${size}-${theme}.png` })
      }
    }
    // A phone's browser makes innerWidth as wide as the page.
    const wide = await one.evaluate((width) => document.documentElement.scrollWidth - width, viewport.width)
    if (wide > 0) bad.push(`${name} ${size}: scrolls sideways by ${wide}`)
    // What scrolls by itself hides the same fault: only tables, code and rows of chips may be wider than their place.
    const hidden = await one.evaluate((width) => {
      const may = (node) => node.closest('.scroll, .chips, .xterm, pre, textarea, table') || getComputedStyle(node).position === 'absolute'
      return [...document.querySelectorAll('main :is(button, a, input, select, textarea, section, h1, h2, p)')]
        .filter((node) => node.offsetParent && !may(node) && node.getBoundingClientRect().right > width + 1)
        .map((node) => `${node.tagName} ${node.textContent?.trim().slice(0, 30)}`)
    }, viewport.width)
    if (hidden.length) bad.push(`${name} ${size}: out of sight at the right: ${hidden.slice(0, 5).join(', ')}`)
    if (size === 'phone') {
      const small = await one.evaluate(() =>
        [...document.querySelectorAll('button, a.btn, a.place, a.row, input:not([type=checkbox]):not([type=radio]), select')]
          .filter((node) => node.offsetParent && !node.closest('.xterm') && node.getBoundingClientRect().height < 43.5)
          .map((node) => `${node.textContent?.trim().slice(0, 30)} ${Math.round(node.getBoundingClientRect().height)}`),
      )
      if (small.length) bad.push(`${name} ${size}: small targets: ${small.join(', ')}`)
    }
  }
  await context.close()
}
await Promise.all(SIZES.map(([size, viewport]) => look(size, viewport)))
must(bad.length === 0, `\n${bad.join('\n')}`)
console.log(`${PAGES.length} pages, ${THEMES.length} themes, ${SIZES.length} widths: nothing found`)
