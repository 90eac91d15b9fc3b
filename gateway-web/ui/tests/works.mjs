// What a session's work needs in a browser: a command that waits for input is answered, what stays in the background is
// listed and ended, files are looked at and edited and never written over, limits and context are shown.
import { execFileSync, spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { launch, must, open, until } from './browser.mjs'

const { AGENTCTL, WORKSPACE } = process.env
const ctl = (...args) => execFileSync(AGENTCTL, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
const step = (name) => console.log(`· ${name}`)
const id = JSON.parse(ctl('sessions', 'new', '--model', 'demo', '--name', 'works', '-C', WORKSPACE, '-o', 'json')).session_id

const desk = await launch()
let asking
try {
  const page = await open(desk, ctl('web', 'url').trim())
  await page.waitForURL('**/sessions')
  const at = new URL(page.url()).origin

  step('files: looked at, edited, and never written over')
  writeFileSync(join(WORKSPACE, 'notes.txt'), 'one\ntwo\n')
  await page.goto(`${at}/s/${id}/files`)
  await page.getByRole('link', { name: /^src\// }).click()
  await page.getByRole('link', { name: /^slug\.c/ }).click()
  await page.getByRole('region', { name: 'Content of src/slug.c' }).waitFor()
  await page.goto(`${at}/s/${id}/files?file=notes.txt`)
  await page.getByRole('button', { name: 'Edit' }).click()
  const content = page.getByLabel('Content of notes.txt')
  await content.fill('one\nTWO\n')
  await page.getByRole('button', { name: 'Write' }).click()
  await page.getByText('Written').waitFor()
  must(readFileSync(join(WORKSPACE, 'notes.txt'), 'utf8') === 'one\nTWO\n', 'it is not in the file')
  await page.getByRole('button', { name: 'Edit' }).click()
  await content.fill('mine\n')
  writeFileSync(join(WORKSPACE, 'notes.txt'), 'theirs\n')
  await page.getByRole('button', { name: 'Write' }).click()
  await page.getByText('[file_changed]').waitFor()
  must(readFileSync(join(WORKSPACE, 'notes.txt'), 'utf8') === 'theirs\n', 'it was written over')
  must((await content.inputValue()) === 'mine\n', 'what was typed is gone')
  await page.getByRole('button', { name: 'Show what is there now' }).click()
  await page.locator('pre', { hasText: 'theirs' }).waitFor()

  step('a command that waits for input is answered')
  await page.goto(`${at}/s/${id}`)
  await page.getByLabel('Message', { exact: true }).waitFor()
  let said = ''
  asking = spawn(AGENTCTL, ['exec', '-s', id, '--stdin', '--', 'sh', '-c', 'printf "your name? "; read name; echo "hello $name"'], { stdio: ['pipe', 'pipe', 'ignore'] })
  asking.stdout.on('data', (data) => (said += data))
  const waits = page.getByRole('region', { name: 'Waits for input' })
  await waits.getByText('your name?').waitFor()
  await waits.getByLabel('Answer for the command').fill('browser')
  await page.keyboard.press('Enter')
  await until(() => said.includes('hello browser'), 'the answer arrives')
  await waits.waitFor({ state: 'detached' })

  step('what a command left in the background is listed and ended')
  await page.getByLabel('Message', { exact: true }).fill('!sleep 4321 & echo begun')
  await page.keyboard.press('Enter')
  const job = page.locator('aside .job', { hasText: 'sleep 4321' })
  await job.waitFor()
  await job.getByRole('button').click()
  await job.waitFor({ state: 'detached' })

  step('limits, and what fills the context')
  ctl('run', '-s', id, 'demo:\nsay done')
  await page.goto(`${at}/s/${id}/about`)
  await page.getByRole('region', { name: 'Limits, table' }).getByRole('rowheader', { name: 'open files' }).waitFor()
  await page.getByRole('region', { name: 'What fills the context' }).getByRole('rowheader', { name: 'your messages' }).waitFor()

  step('what of a developer’s tools works in a jail there')
  await page.getByRole('button', { name: 'Check the project' }).click()
  const project = page.getByRole('region', { name: 'Project in the jail' })
  await project.getByText('limit open files').waitFor()
  const told = ctl('doctor', '--project', '-C', WORKSPACE, '-o', 'json')
  for (const tool of ['git', 'make']) must(!told.includes(`"${tool}"`) || (await project.locator('dt', { hasText: tool }).count()) > 0, `${tool} is not told`)
  await page.goto(`${at}/daemon`)
  await page.getByRole('button', { name: 'Check the project' }).waitFor()

  step('what a session is about, in the list')
  await page.goto(`${at}/sessions`)
  await page.locator('a.row .title', { hasText: 'demo:' }).waitFor()

  step('a command that runs on is interrupted')
  await page.goto(`${at}/s/${id}`)
  await page.getByLabel('Message', { exact: true }).fill('!sleep 5432')
  await page.keyboard.press('Enter')
  await page.getByRole('button', { name: 'Interrupt this command' }).click()
  await page.locator('.call', { hasText: 'sleep 5432' }).getByText(/130|interrupted|failed/).first().waitFor()

  step('a session whose log keeps no words, for a task of the board')
  ctl('tasks', 'add', 'Keep it to yourself', '-C', WORKSPACE)
  await page.goto(`${at}/sessions?new=1`)
  await page.getByLabel('Directory on the daemon’s machine').or(page.locator('#ws')).first().fill(WORKSPACE)
  await page.getByLabel(/^Name/).fill('quiet')
  await page.getByText('More', { exact: true }).click()
  await page.getByLabel('The log keeps').selectOption({ label: 'none: no words, only what was done' })
  await page.getByRole('button', { name: 'Make session' }).click()
  await page.getByText('no words, only what was done').waitFor()
  await page.getByLabel('More about this session').click()
  await page.getByRole('button', { name: 'Task…' }).click()
  await page.getByLabel('It works on').selectOption('T-1')
  await page.getByRole('button', { name: 'Choose', exact: true }).click()
  await page.locator('aside').getByRole('link', { name: 'T-1' }).waitFor()

  step('a text is taken out for good')
  ctl('run', '-s', id, 'demo:\nsay the hunter2 is out')
  await page.goto(`${at}/s/${id}`)
  await page.locator('article.say', { hasText: 'hunter2' }).waitFor()
  await page.getByLabel('More about this session').click()
  await page.getByRole('button', { name: 'Take a text out…' }).click()
  await page.getByLabel('This text, wherever it stands').fill('hunter2')
  await page.getByLabel('for good').check()
  await page.getByRole('button', { name: 'Take out', exact: true }).click()
  await page.getByText('✓ taken out').waitFor()
  must(!ctl('sessions', 'export', id, '-').includes('hunter2'), 'it is still there')
  await page.getByRole('button', { name: 'Reload what is left' }).click()
  await page.getByLabel('Message', { exact: true }).waitFor()
  await page.locator('article.say', { hasText: 'is out' }).waitFor()
  must((await page.locator('body').innerText()).includes('hunter2') === false, 'the page still shows it')
  must(page.complaints.length === 0 && page.foreign.length === 0, [...page.complaints, ...page.foreign].join('\n'))
} finally {
  asking?.kill('SIGTERM')
  await desk.close()
}
