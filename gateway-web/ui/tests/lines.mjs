// The page over lines that are not loopback: 100 ms of latency, a TLS proxy that keeps answers back, a browser without
// shared workers, a gateway that was upgraded; and how quiet a page is that nobody touches.
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { figures as goals, launch, must, open, until } from './browser.mjs'
import { freePort, gatewayPort, nginx, slowLine } from './front.mjs'

const { AGENTCTL, WORKSPACE, AGENTD_STATE_DIR, AGENTD_TEST_LONG } = process.env
const [slow, tls] = [await freePort(), await freePort()]
const ctl = (...args) => execFileSync(AGENTCTL, args, { encoding: 'utf8' })
const web = (publicUrl) => execFileSync(AGENTCTL, ['web', 'url', '--public'], { encoding: 'utf8', env: { ...process.env, AGENTD_WEB_PUBLIC_URL: publicUrl } }).trim()
const step = (name) => console.log(`· ${name}`)
const figures = {}

async function send(page, text) {
  await page.getByLabel('Message', { exact: true }).fill(text)
  await page.keyboard.press('Enter')
}
const said = (page, text) => page.locator('article.say', { hasText: text }).first().waitFor()
const screen = (page) => page.evaluate(() => {
  const terminal = document.querySelector('.term .box')?.terminal
  if (!terminal) return ''
  const { active } = terminal.buffer
  return Array.from({ length: active.length }, (_, row) => active.getLine(row)?.translateToString(true) ?? '').join('\n')
})

const link = web(`http://localhost:${slow}`)
const line = await slowLine(slow, gatewayPort(), 0)
const id = JSON.parse(ctl('sessions', 'new', '--model', 'demo', '--name', 'lines', '-C', WORKSPACE, '-o', 'json')).session_id
const browser = await launch()
let proxy
try {
  const page = await open(browser, link)
  await page.waitForURL('**/sessions')
  const at = new URL(page.url()).origin

  step('a shell over 100 ms of latency: usable, in order')
  await page.goto(`${at}/s/${id}/shell`)
  await page.getByRole('button', { name: 'Open a shell' }).click()
  await until(async () => /[$#] *$/.test((await screen(page)).trimEnd() + ' '), 'a prompt')
  line.delay = 50
  await page.locator('.xterm-helper-textarea').focus()
  await page.keyboard.type('cat >/dev/null\n')
  await until(async () => (await screen(page)).includes('cat >/dev/null'), 'the echo')
  const times = []
  for (let n = 0; n < 15; n += 1) {
    times.push(await page.evaluate(() => new Promise((done) => {
      const { terminal } = document.querySelector('.term .box')
      const from = performance.now()
      const hook = terminal.onWriteParsed(() => (hook.dispose(), done(performance.now() - from)))
      terminal.input('x', true)
    })))
  }
  times.sort((a, b) => a - b)
  figures.echo_over_100ms_median_ms = Math.round(times[7])
  await page.keyboard.press('Control+c')
  const text = 'the quick brown fox jumps over the lazy dog 0123456789'
  await page.keyboard.type(`echo ${text} | rev\n`, { delay: 8 })
  await until(async () => (await screen(page)).includes([...text].reverse().join('')), 'all letters in order')
  goals.most('echo over a line of 100 ms, median', figures.echo_over_100ms_median_ms, 250)
  line.delay = 0

  step('an idle page: one keep-alive in 20 s and nothing else')
  await page.goto(`${at}/s/${id}`)
  await page.getByLabel('Message', { exact: true }).waitFor()
  // Once what belongs to its beginning is over.
  let rest = -1
  await until(async () => {
    const now = line.requests.length
    const quiet = now === rest
    rest = now
    if (!quiet) await page.waitForTimeout(1500)
    return quiet
  }, 'the page has all it wants')
  const span = AGENTD_TEST_LONG ? 60 : 8
  const before = line.requests.length
  await page.waitForTimeout(span * 1000)
  const asked = line.requests.slice(before)
  figures.idle_requests = `${asked.length} in ${span} s`
  must(asked.length <= Math.ceil(span / 20), `an idle page asks: ${asked.join(', ')}`)

  step('a gateway with another page: said once the keys rest, and what was written stays')
  await browser.close()
  // (the second browser has no shared workers: its leading tab asks, where a test can change the answer)
  const alone = await launch()
  await alone.addInitScript(() => delete window.SharedWorker)
  const first = await open(alone, web(`http://localhost:${slow}`))
  await first.waitForURL('**/sessions')
  await first.goto(`${at}/s/${id}`)
  const draft = first.getByLabel('Message', { exact: true })
  await draft.click()
  await alone.route('**/healthz', async (route) => {
    const answer = await route.fetch()
    await route.fulfill({ response: answer, headers: { ...answer.headers(), 'x-agentd-page': 'another' } })
  })
  await first.keyboard.type('half a sen')
  await first.evaluate(() => document.dispatchEvent(new Event('visibilitychange')))
  await first.waitForTimeout(700)
  await first.keyboard.type('tence')
  must((await first.getByText('New version ready').count()) === 0, 'said in the middle of a sentence')
  await first.getByText('New version ready').waitFor()
  await alone.unrouteAll({ behavior: 'wait' })
  await first.getByRole('button', { name: 'Reload' }).click()
  await first.getByText('New version ready').waitFor({ state: 'detached' })
  must((await draft.inputValue()) === 'half a sentence', 'the draft is gone')
  await draft.fill('')

  step('without shared workers: one stream for all tabs, and another tab leads when the first one goes')
  const streams = () => line.requests.filter((one) => one.endsWith('SessionService/Watch')).length
  const second = await open(alone, `${at}/s/${id}`)
  await second.getByLabel('Message', { exact: true }).waitFor()
  await send(second, 'demo:\nsay heard by both tabs')
  await Promise.all([said(first, 'heard by both tabs'), said(second, 'heard by both tabs')])
  // Counted before: the new stream may be asked for before the close is over.
  const led = streams()
  await first.close()
  await send(second, 'demo:\nsay the second one leads')
  await said(second, 'the second one leads')
  await until(() => streams() > led, 'a stream of its own')
  const third = await open(alone, `${at}/s/${id}`)
  await send(second, 'demo:\nsay and the third follows')
  await said(third, 'and the third follows')
  await alone.close()

  step('behind nginx with TLS that keeps answers back: live, by rounds')
  ctl('web', 'stop')
  const secure = web(`https://localhost:${tls}`)
  proxy = await nginx(join(AGENTD_STATE_DIR, 'nginx'), tls, gatewayPort())
  const far = await launch({ ignoreHTTPSErrors: true })
  const tab = await open(far, secure)
  await tab.waitForURL('**/sessions')
  const cookie = (await far.cookies()).find((one) => one.name.startsWith('agentd_'))
  must(cookie?.secure && cookie.httpOnly, 'the cookie could travel unencrypted')
  const own = JSON.parse(ctl('sessions', 'new', '--model', 'demo', '--name', 'behind', '-C', WORKSPACE, '-o', 'json')).session_id
  await tab.goto(`https://localhost:${tls}/s/${own}`)
  await tab.getByLabel('Message', { exact: true }).waitFor()
  const begun = Date.now()
  await send(tab, 'demo:\nsay through the proxy')
  await said(tab, 'through the proxy')
  figures.through_nginx_ms = Date.now() - begun
  must(tab.complaints.length === 0 && tab.foreign.length === 0, [...tab.complaints, ...tab.foreign].join('\n'))
  await far.close()
  console.log(JSON.stringify(figures))
} finally {
  line.close()
  proxy?.close()
  await browser.close().catch(() => undefined)
}
