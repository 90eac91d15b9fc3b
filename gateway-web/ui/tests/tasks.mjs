// The board in a browser: a move by drag, by keyboard and by menu each reaches docs/TASKS.md, and a hand edit of the
// file reaches the page; what nobody touched keeps its bytes.
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { figures, launch, must, open, until } from './browser.mjs'

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

/** The file becomes this. */
async function reaches(what, expected) {
  const from = Date.now()
  await until(() => readFileSync(file, 'utf8') === expected, `${what} reaches the file`).catch((error) => {
    throw new Error(`${error.message}:\n${readFileSync(file, 'utf8')}`)
  })
  figures.most(`${what} in the file`, Date.now() - from, 3000)
}

/** The page shows a task in a column. */
async function shows(what, name, number) {
  const from = Date.now()
  await column(name).locator(`#card-T-${number}`).waitFor()
  figures.most(`${what} on the page`, Date.now() - from, 3000)
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
await until(() => card(2).evaluate((one) => one === document.activeElement), 'the moved card has the focus again')

await page.getByLabel('Move T-3 to').selectOption({ label: 'Done' })
await reaches('the menu', text('Review', 'In Progress', 'Done'))

// At the very moment the daemon's own write can be seen, and again.
writeFileSync(file, text('Review', 'Blocked', 'Done'))
await shows('a hand edit', 'Blocked', 2)

// An answer that is overtaken by a newer one on its way changes nothing back.
let late
let free
const released = new Promise((done) => (free = done))
await page.route(/TaskService.ListTasks/, async (route) => {
  const answer = await route.fetch()
  if (!late) {
    late = true
    await Promise.race([released, page.waitForTimeout(1500)])
  }
  await route.fulfill({ response: answer })
})
writeFileSync(file, text('Review', 'Review', 'Done'))
await until(() => late, 'the page asks')
writeFileSync(file, text('Review', 'Done', 'Done'))
await shows('the second of two edits', 'Done', 2)
free()
await page.waitForTimeout(300)
must((await column('Done').locator('#card-T-2').count()) === 1, 'an old answer took a newer one’s place')
await page.unrouteAll({ behavior: 'wait' })

// Both sides change one field: both versions are shown, neither is lost, and either can be kept.
const title = (one, two = 'Two') => text('Review', 'Done', 'Done').replace('| One |', `| ${one} |`).replace('| Two |', `| ${two} |`)
const conflict = (number) => page.getByRole('region', { name: `Conflict in T-${number}` })
async function clash(number, mine) {
  await page.getByRole('button', { name: `Edit T-${number}` }).click()
  const form = page.getByRole('dialog', { name: 'Edit the task' })
  await form.getByLabel('Title').fill(mine)
  return () => form.getByRole('button', { name: 'Save' }).click()
}
let save = await clash(1, 'Mine')
writeFileSync(file, title('Theirs'))
await page.locator('#card-T-1', { hasText: 'Theirs' }).waitFor()
await save()
await conflict(1).getByText('Theirs').waitFor()
await conflict(1).getByText('Mine').waitFor()
must(readFileSync(file, 'utf8') === title('Theirs'), 'the file was overwritten')
await conflict(1).getByRole('button', { name: 'Keep the board’s' }).click()
// The cell keeps its width.
await reaches('the board’s side', title('Mine  '))
await conflict(1).waitFor({ state: 'detached' })
save = await clash(2, 'Mine too')
writeFileSync(file, title('Mine', 'Theirs too'))
await page.locator('#card-T-2', { hasText: 'Theirs too' }).waitFor()
await save()
await conflict(2).getByRole('button', { name: 'Keep the file’s' }).click()
await conflict(2).waitFor({ state: 'detached' })
must(readFileSync(file, 'utf8') === title('Mine', 'Theirs too'), 'the file’s side is gone')

// A claim: taken and given back on the page; what somebody else has is asked about once more.
await page.getByLabel('Move T-3 to').selectOption({ label: 'Todo' })
await column('Todo').locator('#card-T-3').waitFor()
await page.getByRole('button', { name: 'Claim T-3' }).click()
await card(3).getByText(/claimed by .* via web until/).waitFor()
must(JSON.parse(ctl('tasks', 'show', 'T-3', '-C', WORKSPACE, '-o', 'json')).claim.holder.endsWith('via web'), 'nobody has it')
await page.getByRole('button', { name: 'Release T-3' }).click()
await page.getByRole('button', { name: 'Claim T-3' }).waitFor()
const started = JSON.parse(ctl('tasks', 'start', 'T-3', '-C', WORKSPACE, '-o', 'json'))
await card(3).getByText(/claimed by/).waitFor()
await page.getByRole('button', { name: 'Release T-3' }).click()
const anyway = page.getByRole('dialog', { name: 'Release T-3 anyway?' })
await anyway.getByText('[task_claimed]').waitFor()
await anyway.getByRole('button', { name: 'Release anyway' }).click()
await page.getByRole('button', { name: 'Claim T-3' }).waitFor()
must(!JSON.parse(ctl('tasks', 'show', 'T-3', '-C', WORKSPACE, '-o', 'json')).claim, `it is still claimed (${JSON.stringify(started)})`)

must(page.complaints.length === 0 && page.foreign.length === 0, [...page.complaints, ...page.foreign].join('\n'))
console.log('drag, keyboard and menu reach the file; a hand edit reaches the page')
await context.close()
