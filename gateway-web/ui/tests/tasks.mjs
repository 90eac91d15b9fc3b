// The board in a browser: a move by drag, by keyboard and by menu each reaches docs/TASKS.md, and a hand edit of the
// file reaches the page; what nobody touched keeps its bytes.
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { launch, must, open } from './browser.mjs'

const { AGENTCTL, WORKSPACE } = process.env
const ctl = (...args) => execFileSync(AGENTCTL, args, { encoding: 'utf8' })

const file = join(WORKSPACE, 'docs/TASKS.md')
const row = (number, title, status) => `| T-${number} | ${title} | ${status} | High | | kept as it is |`
const text = (one, two, three) =>
  ['# Tasks', '', 'Prose *stays*.', '', '| ID | Title | Status | Priority | Owner | Notes |', '|---|---|---|---|---|---|']
    .concat([row(1, 'One', one), row(2, 'Two', two), row(3, 'Three', three), ''])
    .join('\n')
mkdirSync(join(WORKSPACE, 'docs'), { recursive: true })
writeFileSync(file, text('Todo', 'Todo', 'Todo'))
ctl('sessions', 'new', '--model', 'demo', '--name', 'board', '-C', WORKSPACE)

const context = await launch({ viewport: { width: 1440, height: 900 } })
const page = await open(context, ctl('web', 'url').trim())
await page.waitForURL('**/sessions')
await page.goto(new URL('/tasks', page.url()).href)
const column = (name) => page.getByRole('region', { name, exact: true })
const card = (number) => page.locator(`#card-T-${number}`)

/** The file becomes this: read again until it is, for as long as the page is allowed to take. */
async function reaches(what, expected) {
  const until = Date.now() + 3_000
  while (readFileSync(file, 'utf8') !== expected && Date.now() < until) await page.waitForTimeout(50)
  const now = readFileSync(file, 'utf8')
  must(now === expected, `${what} did not reach the file:\n${now}`)
}

await column('Todo').locator('#card-T-3').waitFor()
// By its title: the middle of a card may be its menu, which is no handle.
await card(1).dragTo(column('Review'), { sourcePosition: { x: 60, y: 14 } })
await reaches('a drag', text('Review', 'Todo', 'Todo'))

await card(2).focus()
await page.keyboard.press('Space')
await page.keyboard.press('ArrowRight')
await page.keyboard.press('Space')
await reaches('the keyboard', text('Review', 'In Progress', 'Todo'))
await column('In Progress').locator('#card-T-2').waitFor()
must(await card(2).evaluate((one) => one === document.activeElement), 'the moved card lost the focus')

await page.getByLabel('Move T-3 to').selectOption({ label: 'Done' })
await reaches('the menu', text('Review', 'In Progress', 'Done'))

writeFileSync(file, text('Review', 'Blocked', 'Done'))
await column('Blocked').locator('#card-T-2').waitFor({ timeout: 3_000 })
console.log('drag, keyboard and menu reach the file; a hand edit reaches the page')
await context.close()
