// A terminal that several clients type into: who has the input keeps it until another one takes it on purpose, each sees
// who has it, and the terminal has the size of the window that is typed into.
import { execFileSync, spawn } from 'node:child_process'
import { launch, must, open, settled, until } from './browser.mjs'

const { AGENTCTL, WORKSPACE } = process.env
const ctl = (...args) => execFileSync(AGENTCTL, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
const step = (name) => console.log(`· ${name}`)
const id = JSON.parse(ctl('sessions', 'new', '--model', 'demo', '--name', 'input', '-C', WORKSPACE, '-o', 'json')).session_id

const one = await launch()
const two = await launch({ viewport: { width: 1000, height: 600 } })
let terminal
try {
  const enter = async (context) => {
    const page = await open(context, ctl('web', 'url').trim())
    await page.waitForURL('**/sessions')
    await page.goto(`${new URL(page.url()).origin}/s/${id}/shell`)
    return page
  }
  const text = (page) =>
    page.evaluate(() => {
      const terminal = document.querySelector('.term .box')?.terminal
      const buffer = terminal?.buffer.active
      return buffer ? Array.from({ length: buffer.length }, (_, row) => buffer.getLine(row)?.translateToString(true) ?? '').join('\n') : ''
    })
  const size = (page) => page.evaluate(() => { const { cols, rows } = document.querySelector('.term .box').terminal; return `${rows} ${cols}` })
  // What the shell itself takes for its size.
  const said = async (page, mark) => {
    await page.keyboard.type(`echo ${mark}-$(stty size | tr ' ' x)-\n`)
    const line = new RegExp(`${mark}-(\\d+x\\d+)-`)
    return until(async () => line.exec(await text(page))?.[1]?.replace('x', ' '), `the size as ${mark}`)
  }

  step('the first who types has the input, and the terminal its size')
  const first = await enter(one)
  await first.getByRole('button', { name: 'Open a shell' }).click()
  await until(async () => /[$#] *$/.test((await text(first)).trimEnd() + ' '), 'a prompt')
  await first.locator('.xterm-helper-textarea').focus()
  await first.keyboard.type('echo mine-$((1+0))\n')
  await until(async () => (await text(first)).includes('mine-1'), 'the first one’s typing')
  await first.locator('header').getByText('you (input)').or(first.locator('.foot')).first().waitFor()
  const large = await size(first)
  must((await said(first, 'at')) === large, 'the terminal has not the window’s size')

  step('who comes takes neither the input nor the size')
  const second = await enter(two)
  await until(async () => (await text(second)).includes('mine-1'), 'the screen of the one who comes')
  const held = second.locator('.foot', { hasText: 'via web has the input' })
  await held.waitFor()
  must((await size(second)) === large, `it shows ${await size(second)}, not ${large}`)
  await second.locator('.xterm-helper-textarea').focus()
  await second.keyboard.type('echo theirs-$((1+0))\n')
  await second.locator('.foot', { hasText: 'what you typed went nowhere' }).waitFor()
  must(!(await text(first)).includes('theirs'), 'it was typed over another’s hand')
  await second.setViewportSize({ width: 900, height: 560 })
  await settled(second, 300)
  must((await said(first, 'still')) === large, 'a window that is not typed into has the size')

  step('another tab of the same browser types without asking, and gives it its size')
  const tab = await one.newPage()
  await tab.setViewportSize({ width: 1100, height: 700 })
  await tab.goto(first.url())
  await until(async () => (await text(tab)).includes('mine-1'), 'the screen of the other tab')
  await tab.locator('.xterm-helper-textarea').focus()
  const medium = await said(tab, 'tab')
  must(medium !== large && medium === (await size(tab)), `the other tab’s size is ${medium}`)
  await until(async () => (await size(first)) === medium, 'the first tab shows it in that size')
  await tab.close()
  await first.locator('.xterm-helper-textarea').focus()
  must((await said(first, 'again')) === large, 'the size did not come back')

  step('taken on purpose: then the keys arrive, and whoever had it is told')
  await second.getByRole('button', { name: 'Take input' }).click()
  await second.locator('.foot', { hasText: 'your next key takes it' }).waitFor()
  await second.keyboard.type('echo taken-$((1+0))\n')
  await until(async () => (await text(first)).includes('taken-1'), 'the taker’s typing')
  await first.locator('.foot', { hasText: 'took the input' }).waitFor()
  await until(async () => (await said(second, 'now')) === (await size(second)), 'the taker’s window gives the size')
  must((await size(second)) !== large, 'the size stayed')
  await until(async () => (await size(first)) === (await size(second)), 'the other one shows it in that size')
  await second.close()
  await first.locator('.foot', { hasText: 'the input' }).waitFor({ state: 'detached' })
  await first.locator('.xterm-helper-textarea').focus()
  must((await said(first, 'free')) === large, 'the size did not come back to the one that is left')

  step('a terminal has it, too')
  const exec = /"exec": *"([^"]+)"/.exec(ctl('logs', id, '-o', 'jsonl'))?.[1]
  terminal = spawn('script', ['-qec', `stty rows 20 cols 70; ${AGENTCTL} shell -s ${id} --rejoin ${exec}`, '/dev/null'], { stdio: ['pipe', 'pipe', 'ignore'] })
  let shown = ''
  terminal.stdout.on('data', (data) => (shown += data))
  await until(() => shown.includes('free-'), 'the terminal joined')
  terminal.stdin.write('\x1dtecho by-$((1+0))-terminal\r')
  await until(async () => (await text(first)).includes('by-1-terminal'), 'the terminal’s typing')
  await first.locator('.foot', { hasText: 'via cli took the input' }).waitFor()
  await first.locator('header').getByText('cli (input)').waitFor()

  const complaints = [...first.complaints, ...first.foreign]
  must(complaints.length === 0, complaints.join('\n'))
} finally {
  terminal?.kill('SIGTERM')
  await one.close()
  await two.close()
}
