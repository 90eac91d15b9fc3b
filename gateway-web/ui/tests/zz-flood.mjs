import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { launch, must, open, until } from './browser.mjs'
const { AGENTCTL, WORKSPACE } = process.env
const ctl = (...args) => execFileSync(AGENTCTL, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
const id = JSON.parse(ctl('sessions', 'new', '--model', 'demo', '--name', 'works', '-C', WORKSPACE, '-o', 'json')).session_id
const screen = (page) => page.evaluate(() => {
  const terminal = document.querySelector('.term .box')?.terminal
  if (!terminal) return ''
  const { active } = terminal.buffer
  return Array.from({ length: active.length }, (_, row) => active.getLine(row)?.translateToString(true) ?? '').join('\n')
})
const desk = await launch()
try {
  const page = await open(desk, ctl('web', 'url').trim())
  await page.waitForURL('**/sessions')
  const at = new URL(page.url()).origin
  await page.goto(`${at}/s/${id}/shell`)
  await page.getByRole('button', { name: 'Open a shell' }).click()
  await until(async () => /[$#] *$/.test((await screen(page)).trimEnd() + ' '), 'a prompt')
  await page.locator('.xterm-helper-textarea').focus()
  const devtools = await desk.newCDPSession(page)
  await devtools.send('Profiler.enable')
  await devtools.send('Profiler.setSamplingInterval', { interval: 500 })
  for (const how of ['quiet', 'polled']) {
  await page.evaluate(() => {
    window.slowest = 0; window.all = []; window.stopTicking = false; window.tasks = []
    let before = performance.now()
    const tick = () => {
      const now = performance.now()
      window.slowest = Math.max(window.slowest, now - before)
      if (now - before > 60) window.all.push([Math.round(now), Math.round(now - before)])
      before = now
      if (!window.stopTicking) setTimeout(tick, 10)
    }
    tick()
    window.seen?.disconnect()
    window.seen = new PerformanceObserver((list) => { for (const e of list.getEntries()) window.tasks.push([Math.round(e.startTime + e.duration), Math.round(e.duration)]) })
    window.seen.observe({ entryTypes: ['longtask'] })
  })
  await devtools.send('Profiler.start')
  const events = []
  const got = (e) => events.push(...e.value)
  devtools.on('Tracing.dataCollected', got)
  await devtools.send('Tracing.start', { transferMode: 'ReportEvents', traceConfig: { includedCategories: ['devtools.timeline', 'toplevel', 'disabled-by-default-devtools.timeline', 'v8', 'blink.user_timing'] } })
  const flood = Date.now()
  const size = Number(process.env.SIZE ?? 50)
  await page.keyboard.type(`yes 0123456789abcdef | head -c ${size}M; echo the-${how}-$((1+0))-end\n`)
  if (how === 'quiet') await page.waitForFunction((end) => { const t = document.querySelector('.term .box').terminal.buffer.active; for (let i = Math.max(0, t.length - 40); i < t.length; i++) if (t.getLine(i)?.translateToString(true).includes(end)) return true; return false }, `the-${how}-1-end`, { polling: 100, timeout: 200000 })
  else await until(async () => (await screen(page)).includes(`the-${how}-1-end`), 'end', 240000)
  console.log(how, 'seconds', (Date.now() - flood) / 1000)
  const { profile } = await devtools.send('Profiler.stop')
  console.log(JSON.stringify(await page.evaluate(() => ((window.stopTicking = true), { slowest: window.slowest, stalls: window.all, tasks: window.tasks }))))
  const over = new Promise((d) => devtools.once('Tracing.tracingComplete', d))
  await devtools.send('Tracing.end'); await over; devtools.off('Tracing.dataCollected', got)
  const main = events.find((e) => e.name === 'thread_name' && e.args.name === 'CrRendererMain')
  const renderers = events.filter((e) => e.name === 'thread_name' && e.args.name === 'CrRendererMain').map((e) => `${e.pid}/${e.tid}`)
  const begin = Math.min(...events.filter((e) => e.ts > 0).map((e) => e.ts))
  for (const e of events.filter((e) => e.ph === 'X' && e.dur > 25_000 && renderers.includes(`${e.pid}/${e.tid}`)).sort((a, b) => a.ts - b.ts).slice(0, 60)) console.log(`${((e.ts - begin) / 1000).toFixed(0)} ${(e.dur / 1000).toFixed(0)}ms cpu ${((e.tdur ?? 0) / 1000).toFixed(0)} ${e.name} ${JSON.stringify(e.args).slice(0, 160)}`)
  const self = new Map(), by = new Map(profile.nodes.map((n) => [n.id, n]))
  profile.samples.forEach((s, i) => { const n = by.get(s); const k = `${n.callFrame.functionName || '(anon)'} ${n.callFrame.url.split('/').at(-1)}:${n.callFrame.lineNumber}:${n.callFrame.columnNumber}`; self.set(k, (self.get(k) ?? 0) + profile.timeDeltas[i] / 1000) })
  console.log([...self].sort((a, b) => b[1] - a[1]).slice(0, 18).map(([k, v]) => `${v.toFixed(0)} ms ${k}`).join('\n'))
  await page.waitForTimeout(1000)
  }
} finally { await desk.close() }
