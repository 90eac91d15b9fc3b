// Money in a browser: what the charts add up to is what the terminal says and what the export holds, to the cent; and
// a budget that is reached pauses the session, with a way on.
import { execFile } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { launch, must, open, until } from './browser.mjs'

const { AGENTCTL, WORKSPACE, XDG_CONFIG_HOME, AGENTD_STATE_DIR } = process.env
const step = (name) => console.log(`· ${name}`)
// Never waited for in one piece: the model server below lives in this process.
const run = promisify(execFile)
const ctl = async (...args) => {
  const running = run(AGENTCTL, args, { encoding: 'utf8' })
  running.child.stdin.end()
  return (await running).stdout
}

// A model server that says what each answer cost.
const PRICE = { one: [0.413, 1.274, 0.006], two: [2.5049], unpriced: [undefined] }
const server = http.createServer(async (request, response) => {
  let body = ''
  for await (const piece of request) body += piece
  const { model } = JSON.parse(body || '{}')
  const cost = PRICE[model]?.length > 1 ? PRICE[model].shift() : PRICE[model]?.[0]
  const send = (data) => response.write(`data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', model, ...data })}\n\n`)
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  send({ choices: [{ index: 0, delta: { role: 'assistant', content: `answer of ${model}` } }] })
  send({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] })
  send({ choices: [], usage: { prompt_tokens: 1200, completion_tokens: 340, prompt_tokens_details: { cached_tokens: 700 }, completion_tokens_details: { reasoning_tokens: 40 }, ...(cost === undefined ? {} : { cost }) } })
  response.end('data: [DONE]\n\n')
})
await new Promise((done) => server.listen(0, '127.0.0.1', done))
mkdirSync(join(XDG_CONFIG_HOME, 'agentd'), { recursive: true })
writeFileSync(
  join(XDG_CONFIG_HOME, 'agentd/config.toml'),
  `[providers.shop]\nbase_url = "http://127.0.0.1:${server.address().port}/v1"\napi = "chat"\nauth = "none"\nmodels = ["one", "two", "unpriced"]\n`,
)

const desk = await launch()
try {
  const make = async (name, model) => JSON.parse(await ctl('sessions', 'new', '--model', `shop/${model}`, '--name', name, '-C', WORKSPACE, '-o', 'json')).session_id
  const first = await make('first', 'one')
  const second = await make('second', 'two')
  for (const text of ['a', 'b', 'c']) await ctl('run', '-s', first, text)
  await ctl('run', '-s', second, 'd')
  await ctl('run', '-s', await make('third', 'unpriced'), 'e')
  await ctl('run', '-s', await make('fourth', 'one'), '-m', 'demo', 'demo:\nrun true\nsay done')
  const page = await open(desk, (await ctl('web', 'url')).trim())
  await page.waitForURL('**/sessions')
  const at = new URL(page.url()).origin
  const zone = await page.evaluate(() => Intl.DateTimeFormat().resolvedOptions().timeZone)
  const whole = JSON.parse(await ctl('usage', 'summary', '--since', '7d', '--tz', zone, '-o', 'json'))[0]
  must(whole.cost_micro_usd === 413_000 + 1_274_000 + 6_000 + 2_504_900, `the terminal says ${JSON.stringify(whole)}`)
  const shown = (micro) => `$${(micro / 1e6).toFixed(2)}`

  step('at least eight charts: title with unit, total, table, legend by keyboard')
  await page.goto(`${at}/usage?range=7d&by=model`)
  await page.getByRole('heading', { level: 2, name: /^Cost per day by model/ }).waitFor()
  const charts = page.locator('.grid > section')
  must((await charts.count()) >= 8, `${await charts.count()} charts`)
  for (const chart of await charts.all()) {
    const title = await chart.getByRole('heading', { level: 2 }).innerText()
    must(/, (USD|tokens|count|calls|seconds|% of .*)$/.test(title), `no unit: ${title}`)
    must((await chart.locator('.total').innerText()).trim() !== '', `no total: ${title}`)
    must((await chart.locator('table').count()) + (await chart.getByRole('button', { name: 'Show table' }).count()) > 0, `no table: ${title}`)
    // From zero: the lowest line of the axis is nothing.
    const axis = chart.locator('svg[role=img] text[text-anchor=end]').first()
    if (await axis.count()) must(/^[$]?0(\.0)?( s|%)?$/.test(await axis.textContent()), `${title} begins at ${await axis.textContent()}`)
  }
  const cost = page.locator('section.chart', { hasText: 'Cost per day by model' })
  const legend = cost.getByRole('group', { name: /^Series of/ }).getByRole('button')
  must((await legend.count()) >= 3, 'a series is missing')
  const bars = await cost.locator('svg[role=img] rect[fill]').count()
  await legend.first().focus()
  await page.keyboard.press('Space')
  await until(async () => (await cost.locator('svg[role=img] rect[fill]').count()) < bars, 'a series can be switched off by keyboard')
  await page.keyboard.press('Space')

  step('totals are those of the terminal and of the export, to the cent')
  must((await cost.locator('.total').innerText()) === shown(whole.cost_micro_usd), await cost.locator('.total').innerText())
  must((await cost.locator('.hint', { hasText: 'price unknown for 1 model' }).count()) === 1, 'an unknown price is not said')
  for (const by of ['model', 'session', 'task', 'persona', 'provider', 'client']) {
    await page.goto(`${at}/usage?range=7d&by=${by}&top=${by}`)
    const chart = page.locator('section.chart', { hasText: `Cost per day by ${by}` })
    await chart.getByRole('button', { name: 'Show table' }).click()
    const cells = (await chart.locator('tbody td').allInnerTexts()).filter((text) => text.startsWith('$'))
    const series = await chart.locator('thead th').count()
    // The last column is the row's sum where there are several.
    const table = (await chart.locator('tbody tr').all()).length
    must(table === 7 && cells.length >= 7, `${by}: ${table} rows`)
    const sums = await chart.locator(series > 2 ? 'tbody td:last-child' : 'tbody td').allInnerTexts()
    const sum = sums.reduce((all, text) => all + Number(text.replace('$', '')), 0)
    must(sum.toFixed(2) === (whole.cost_micro_usd / 1e6).toFixed(2), `${by}: the table adds up to ${sum}`)
    const groups = JSON.parse(await ctl('usage', 'top', '--by', by, '--since', '7d', '--tz', zone, '-o', 'json'))
    const rows = page.locator('.grid > section', { hasText: `Top ${by}s` }).locator('tbody tr')
    must((await rows.count()) === groups.length, `${by}: ${await rows.count()} rows, the terminal has ${groups.length}`)
    const mine = (await rows.locator('td:nth-child(2)').allInnerTexts()).join()
    const theirs = groups.map((one) => (one.cost_micro_usd === null || one.cost_micro_usd === undefined ? '—' : one.cost_micro_usd === 0 ? '$0' : shown(one.cost_micro_usd))).join()
    must(mine === theirs, `${by}: the page says ${mine}, the terminal ${theirs}`)
  }
  const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Export CSV' }).click()])
  const path = join(AGENTD_STATE_DIR, 'usage.csv')
  await file.saveAs(path)
  const [head, ...lines] = readFileSync(path, 'utf8').trim().split('\r\n')
  const column = head.split(',').indexOf('cost_usd')
  must(column > 0, head)
  const exported = lines.reduce((all, line) => all + Math.round(Number(line.split(',')[column] || 0) * 1e6), 0)
  must(exported === whole.cost_micro_usd, `the export adds up to ${exported}, the terminal says ${whole.cost_micro_usd}`)

  step('a budget that is reached pauses the session within a turn, and the page has the way on')
  await page.goto(`${at}/usage/budgets`)
  await page.getByLabel('Limit').fill('0.01')
  await page.getByRole('combobox', { name: 'per' }).selectOption({ label: 'session' })
  await page.getByRole('button', { name: 'Set' }).click()
  await page.getByRole('progressbar').first().waitFor()
  const spent = await make('spent', 'two')
  await page.goto(`${at}/s/${spent}`)
  const send = async (text) => {
    await page.getByLabel('Message', { exact: true }).fill(text)
    await page.keyboard.press('Enter')
  }
  await send('one turn')
  await send('and another')
  const paused = page.getByRole('region', { name: 'Paused' })
  await paused.waitFor()
  must(/budget/.test(await paused.innerText()), await paused.innerText())
  await paused.getByRole('link', { name: 'Budgets' }).click()
  await page.getByRole('button', { name: /^Raise to/ }).first().waitFor()
  await page.getByLabel('Limit').fill('100')
  await page.getByRole('combobox', { name: 'per' }).selectOption({ label: 'session' })
  await page.getByRole('button', { name: 'Take away' }).first().click()
  await page.getByRole('button', { name: 'Take away' }).waitFor({ state: 'detached' })
  await page.goto(`${at}/s/${spent}`)
  await paused.getByRole('button', { name: 'Go on' }).click()
  await paused.waitFor({ state: 'detached' })
  must(page.complaints.length === 0 && page.foreign.length === 0, [...page.complaints, ...page.foreign].join('\n'))
} finally {
  await desk.close()
  server.close()
  server.closeAllConnections()
}
