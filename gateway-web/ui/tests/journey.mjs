// The main path in a real browser against a real daemon: sign in, make a session, send, approve, see the result,
// type in the shell; two browsers and a terminal on one session; a killed daemon; hostile output.
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { figures as goals, launch, must, open, tell, until } from './browser.mjs'

const { AGENTCTL, WORKSPACE, AGENTD_TEST_LONG } = process.env
const ctl = (...args) => execFileSync(AGENTCTL, args, { encoding: 'utf8' })
const figures = {}
const step = (name) => console.log(`· ${name}`)

async function signIn(context, ...flags) {
  const page = await open(context, ctl('web', 'url', ...flags).trim())
  await page.waitForURL('**/sessions')
  must(!page.url().includes('#'), 'the code stays in the address')
  return page
}

async function send(page, text) {
  await page.getByLabel('Message', { exact: true }).fill(text)
  await page.keyboard.press('Enter')
}

const desk = await launch()
const phone = await launch({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true })
try {
  step('sign in, and no second time with the same code')
  const link = ctl('web', 'url').trim()
  const page = await open(desk, link)
  await page.waitForURL('**/sessions')
  const cookie = (await desk.cookies()).find((one) => one.name.startsWith('agentd_'))
  must(cookie?.httpOnly && cookie.sameSite === 'Strict', 'the cookie is within reach')
  const again = await open(phone, link)
  await again.getByText('this code is unknown, used or older than 60 seconds').waitFor()
  await again.close()
  await page.getByText('No sessions yet').waitFor()

  step('make a session, send, approve, see the result; by keyboard only')
  await page.locator('body').press('n')
  await page.getByLabel('Directory on').fill(WORKSPACE)
  await page.keyboard.press('Enter')
  await page.waitForURL('**/s/*')
  const session = page.url().split('/').at(-1)
  // Whoever clicks at the moment it appears meant something else.
  await page.evaluate(() => {
    const eye = new MutationObserver(() => {
      const button = [...document.querySelectorAll('.ask button')].find((one) => one.textContent === 'Approve once')
      if (!button) return
      eye.disconnect()
      for (const kind of ['pointerdown', 'pointerup']) button.dispatchEvent(new PointerEvent(kind, { bubbles: true }))
      button.dispatchEvent(new MouseEvent('click', { bubbles: true, detail: 1 }))
      window.early = true
    })
    eye.observe(document, { subtree: true, childList: true })
  })
  await send(page, 'demo:\nsay look\nrun seq -f "line %g" 3; until [ -e seen ]; do sleep 0.1; done\nask')
  await page.locator('pre.tail', { hasText: 'line 3' }).first().waitFor()
  writeFileSync(`${WORKSPACE}/seen`, '')
  const ask = page.getByRole('region', { name: /^Approval a-/ })
  await ask.waitFor()
  const approve = ask.getByRole('button', { name: 'Approve once' })
  await page.locator('.call', { hasText: 'seq -f' }).getByText('3 lines', { exact: true }).waitFor()
  step('  a press that began too early approves nothing')
  await until(() => page.evaluate(() => window.early), 'a press as early as can be')
  await page.waitForTimeout(350)
  must((await ask.isVisible()) && ctl('approvals', 'list', '-o', 'json').includes(session), 'an early click approved')
  step('  two browsers and a terminal see the same question; one answer counts')
  const small = await signIn(phone, '--scopes', 'read,approve')
  await small.goto(`${new URL(small.url()).origin}/approvals`)
  const other = small.getByRole('region', { name: /^Approval a-/ })
  await other.waitFor()
  await other.getByRole('button', { name: 'Deny', exact: true }).focus()
  const box = await other.getByRole('button', { name: 'Deny' }).boundingBox()
  must(box && box.y + box.height < 844 && box.x + box.width < 390 && box.height >= 44, 'Deny is not on a phone’s screen')
  must(ctl('approvals', 'list', '-o', 'json').includes(session), 'the terminal does not list it')
  await until(async () => (await approve.getAttribute('aria-disabled')) === 'false', 'the button is armed')
  await approve.focus()
  await page.keyboard.press('Enter')
  await small.getByText(/approved by .* via web/).waitFor()
  await until(() => page.evaluate(() => document.activeElement?.getAttribute('aria-label') === 'Transcript'), 'the focus is in the transcript')
  await page.getByText(/approved by .* via web/).first().waitFor()
  must(await small.evaluate(() => document.activeElement?.classList.contains('ask')), 'who stood on the question lost their place')
  await page.getByText('done', { exact: true }).waitFor()
  must(readFileSync(`${WORKSPACE}/AGENTS.md`, 'utf8').includes('demo model'), 'the approved write did not happen')

  step('everything that can be done here is in the palette; what has no room on a phone is behind More')
  await page.keyboard.press('Control+k')
  const names = await page.getByRole('option').locator('.cut').allTextContents()
  for (const name of ['Interrupt the turn', 'Its shell', 'Its files', 'Go to usage']) must(names.includes(name), `${name} is not in the palette`)
  await page.keyboard.type('find in the')
  await page.keyboard.press('Enter')
  await page.getByLabel('Find in this session').last().waitFor()
  await page.keyboard.press('Escape')
  await page.evaluate(() => document.activeElement?.blur())
  await page.keyboard.press('.')
  await page.getByRole('button', { name: 'Pause' }).waitFor()
  await page.keyboard.press('Escape')
  await small.getByText('More', { exact: true }).click()
  await small.getByRole('link', { name: 'Help' }).last().click()
  await small.waitForURL('**/help')
  await small.getByText('Help, more').waitFor()

  step('a device that may look and approve can not type')
  await small.goto(`${new URL(small.url()).origin}/s/${session}`)
  await small.getByText('This device may look and answer approvals, not type.').waitFor()
  must((await small.getByLabel('Message', { exact: true }).count()) === 0, 'a composer for a device that may not type')
  const refused = await small.evaluate(async (id) => {
    const name = new TextEncoder().encode(id)
    const body = new Uint8Array([0, 0, 0, 0, name.length + 2, 0x12, name.length, ...name])
    const answer = await fetch('/agentd.v1.SessionService/InterruptTurn', {
      method: 'POST',
      headers: { 'content-type': 'application/grpc-web+proto', 'x-agentd-csrf': '1' },
      body,
    })
    return answer.headers.get('grpc-status') ?? (await answer.text())
  }, session)
  must(String(refused).includes('7'), `the daemon let it: ${refused}`)

  step('a place that shrinks stays at its end')
  await page.evaluate(() => {
    const box = document.querySelector('.wrap > .box')
    box.scrollTop = box.scrollHeight
  })
  await page.getByRole('button', { name: 'To the end' }).waitFor({ state: 'detached' })
  await page.evaluate(() => {
    const wrap = document.querySelector('.wrap')
    wrap.style.flex = '0 0 120px'
    // Before the page itself sees that it shrank.
    wrap.querySelector('.box').dispatchEvent(new Event('scroll'))
  })
  const rest = () => page.evaluate(() => {
    const box = document.querySelector('.wrap > .box')
    return box.scrollHeight - box.scrollTop - box.clientHeight
  })
  await until(async () => (await rest()) < 2, 'the end of the transcript')
  must((await page.getByRole('button', { name: 'To the end' }).count()) === 0, 'it does not follow any more')
  await page.evaluate(() => (document.querySelector('.wrap').style.flex = ''))

  step('hostile output stays text')
  writeFileSync(
    `${WORKSPACE}/evil.txt`,
    '<script>window.pwned=1</script><img src=x onerror="window.pwned=2">[a](javascript:window.pwned=3) ![i](http://127.0.0.1:9/x.png)\n\x1b]0;title\x07\x1b]52;c;aGk=\x07\x1b[31mred\x1b[0m\u202Eevil\n',
  )
  await send(page, 'demo:\nrun cat evil.txt\nsay <script>window.pwned=4</script> [x](javascript:alert(1)) ![i](http://127.0.0.1:9/x.png) <img src=x onerror=window.pwned=5> **bold** `code` [ok](https://example.org/)')
  await page.locator('article.say a[href="https://example.org/"]').waitFor()
  must(!(await page.evaluate(() => window.pwned)), 'output ran as code')
  must((await page.locator('main img, main script, a[href^="javascript"]').count()) === 0, 'output became elements')
  const link2 = page.locator('article.say a[href="https://example.org/"]')
  must((await link2.getAttribute('rel'))?.includes('noopener'), 'a link keeps its opener')

  step('the shell: echo, a flood, a late joiner')
  await page.getByRole('link', { name: 'Shell' }).first().click()
  await page.getByRole('button', { name: 'Open a shell' }).click()
  const screen = (which) => which.evaluate(() => {
    const terminal = document.querySelector('.term .box')?.terminal
    if (!terminal) return ''
    const buffer = terminal.buffer.active
    const from = Math.max(0, buffer.length - 400)
    return Array.from({ length: buffer.length - from }, (_, row) => buffer.getLine(from + row)?.translateToString(true) ?? '').join('\n')
  })
  await until(async () => /[$#] *$/.test((await screen(page)).trimEnd() + ' '), 'a prompt')
  await page.locator('.xterm-helper-textarea').focus()
  await page.keyboard.type('echo hello-$((40+2))\n')
  await until(async () => (await screen(page)).includes('hello-42'), 'the echo of a command')
  const times = []
  await page.keyboard.type('cat >/dev/null\n')
  await page.waitForTimeout(200)
  for (let at = 0; at < 40; at += 1) {
    times.push(
      await page.evaluate(
        () =>
          new Promise((done) => {
            const terminal = document.querySelector('.term .box').terminal
            const from = performance.now()
            const hook = terminal.onWriteParsed(() => {
              hook.dispose()
              done(performance.now() - from)
            })
            terminal.input('x', true)
          }),
      ),
    )
  }
  times.sort((a, b) => a - b)
  figures.echo_median_ms = Math.round(times[20] * 10) / 10
  figures.echo_p95_ms = Math.round(times[38] * 10) / 10
  goals.most('shell echo, median', figures.echo_median_ms, 50)
  await page.keyboard.press('Control+c')
  await page.waitForTimeout(200)
  await page.evaluate(() => {
    window.slowest = 0
    let before = performance.now()
    const tick = () => {
      const now = performance.now()
      window.slowest = Math.max(window.slowest, now - before)
      before = now
      if (!window.stopTicking) setTimeout(tick, 10)
    }
    tick()
  })
  const flood = Date.now()
  const size = AGENTD_TEST_LONG ? 50 : 10
  await page.keyboard.type(`yes 0123456789abcdef | head -c ${size}M; echo the-$((1+0))-end\n`)
  await until(async () => (await screen(page)).includes('the-1-end'), `the end of ${size} MB`, 240_000)
  figures.flood_seconds = (Date.now() - flood) / 1000
  figures.flood_longest_stall_ms = Math.round(await page.evaluate(() => ((window.stopTicking = true), window.slowest)))
  goals.most(`longest stall of the page in ${size} MB`, figures.flood_longest_stall_ms, 200)
  const joiner = await open(desk, `${new URL(page.url()).origin}/s/${session}/shell`)
  await until(async () => (await screen(joiner)).includes('the-1-end'), 'the screen of a late joiner')
  await joiner.locator('.xterm-helper-textarea').focus()
  await joiner.keyboard.type('echo from-$((2+0))-tabs\n')
  await until(async () => (await screen(page)).includes('from-2-tabs'), 'the other tab’s typing')
  await page.locator('.xterm-helper-textarea').focus()
  await page.keyboard.type('echo and-$((1+0))-back\n')
  await until(async () => (await screen(joiner)).includes('and-1-back'), 'this tab’s typing')
  await page.keyboard.press('Control+]')
  must(await page.evaluate(() => document.activeElement?.getAttribute('aria-label') === 'Back to the session'), 'Ctrl ] leaves the terminal')
  await joiner.close()

  step('how soon a page is there')
  for (const [name, path, what] of [['sessions', '/sessions', 'a.row'], ['a session', `/s/${session}`, '#message']]) {
    const soon = []
    for (let n = 0; n < 3; n += 1) {
      const one = await desk.newPage()
      await one.addInitScript((wanted) => {
        const watch = new MutationObserver(() => {
          if (!document.querySelector(wanted)) return
          watch.disconnect()
          // What can be seen can be used: the frame that has it is painted, and the page is free to answer.
          requestAnimationFrame(() => setTimeout(() => (window.usable = performance.now())))
        })
        watch.observe(document, { subtree: true, childList: true })
      }, what)
      await one.goto(new URL(page.url()).origin + path)
      soon.push(await one.waitForFunction(() => window.usable).then((handle) => handle.jsonValue()))
      await one.close()
    }
    const best = Math.round(soon.sort((a, b) => a - b)[1])
    figures[`interactive_${name.replace(' ', '_')}_ms`] = best
    goals.most(`${name}, interactive`, best, 600)
  }

  step('eight tabs stay live')
  const tabs = []
  for (let at = 0; at < 8; at += 1) tabs.push(await open(desk, `${new URL(page.url()).origin}/s/${session}`))
  await Promise.all(tabs.map((tab) => tab.getByLabel('Message', { exact: true }).waitFor()))
  await send(tabs[0], 'demo:\nsay all eight see this')
  await Promise.all(tabs.map((tab) => tab.locator('article.say', { hasText: 'all eight see this' }).waitFor()))
  for (const tab of tabs.slice(1)) await tab.close()

  step('a killed daemon: calm bar, draft kept, sent once, back')
  const tab = tabs[0]
  const pid = Number(/"pid": *(\d+)/.exec(ctl('daemon', 'status', '-o', 'json'))?.[1])
  await tab.getByLabel('Message', { exact: true }).fill('a draft')
  const lost = Date.now()
  process.kill(pid, 'SIGKILL')
  await tab.getByText(/Reconnecting… try|Back\./).first().waitFor()
  figures.bar_after_kill_ms = Date.now() - lost
  goals.most('said after a kill', figures.bar_after_kill_ms, 2000)
  must((await tab.getByLabel('Message', { exact: true }).inputValue()) === 'a draft', 'the draft is lost')
  await tab.getByLabel('Message', { exact: true }).fill('demo:\nsay sent while it was gone')
  await tab.keyboard.press('Enter')
  await tab.locator('article.say', { hasText: 'sent while it was gone' }).waitFor()
  figures.back_after_kill_ms = Date.now() - lost
  goals.most('back after a kill', figures.back_after_kill_ms, 5000)
  await tab.waitForTimeout(500)
  must((await tab.locator('article.you', { hasText: 'sent while it was gone' }).count()) === 1, 'it was not sent once')
  must((await tab.locator('.unsent').count()) === 0, 'it is still marked as not sent')

  step('a revoked device is out at once')
  const device = JSON.parse(ctl('web', 'token', 'list', '-o', 'json')).find((one) => one.scopes.length === 2)
  ctl('web', 'token', 'revoke', device.device_id)
  await small.waitForURL('**/pair')

  const complaints = [page, tab, small].flatMap((one) => [...one.complaints, ...one.foreign])
  must(complaints.length === 0, `the page complained: ${complaints.join('\n')}`)
  console.log(JSON.stringify(figures))
} catch (error) {
  await tell(desk, phone)
  throw error
} finally {
  await desk.close()
  await phone.close()
}
