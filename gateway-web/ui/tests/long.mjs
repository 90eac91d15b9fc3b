// A session of 100,000 events: how long until it is there, how much of it is in the document and in memory, how long
// a page that was away takes to catch up, and that its first words are still found.
import { execFileSync } from 'node:child_process'
import { figures as goals, launch, must, open, until } from './browser.mjs'

const { AGENTCTL, WORKSPACE, AGENTD_STATE_DIR } = process.env
const ctl = (...args) => execFileSync(AGENTCTL, args, { encoding: 'utf8' })
const step = (name) => console.log(`· ${name}`)
const figures = {}
const EVENTS = 100_000

// Turns like the last one of the log, with names of their own, until there are as many events as wanted.
const GROW = `
import json, re, sqlite3, sys, uuid
path, session, wanted = sys.argv[1], sys.argv[2], int(sys.argv[3])
db = sqlite3.connect(path)
rows = db.execute("SELECT seq, time_us, schema, kind, principal, client, trace_id, body FROM events WHERE session_id = ? ORDER BY seq", (session,)).fetchall()
first = max(i for i, row in enumerate(rows) if row[3] == "message_posted")
turn = rows[first:]
ids = set()
def names(value, key=""):
    if isinstance(value, dict):
        for k, v in value.items(): names(v, k)
    elif isinstance(value, list):
        for v in value: names(v, key)
    elif isinstance(value, str) and (key.endswith("_id") or key.endswith("_ids")) and value: ids.add(value)
for row in turn: names(json.loads(row[7]))
head = rows[-1][0]
new = []
while head < wanted:
    map = {one: one.split("-")[0] + "-" + uuid.uuid4().hex[:max(6, len(one) - len(one.split("-")[0]) - 1)] for one in ids}
    for seq, time, schema, kind, principal, client, trace, body in turn:
        head += 1
        for old, fresh in map.items(): body = body.replace('"' + old + '"', '"' + fresh + '"')
        new.append((session, head, time + head, schema, kind, principal, client, trace, None, body.replace("turn-number", "turn at " + str(head))))
db.executemany("INSERT INTO events (session_id, seq, time_us, schema, kind, principal, client, trace_id, request_id, body) VALUES (?,?,?,?,?,?,?,?,?,?)", new)
summary = json.loads(db.execute("SELECT summary FROM sessions WHERE session_id = ?", (session,)).fetchone()[0])
if "head" in summary: summary["head"] = head
db.execute("UPDATE sessions SET head = ?, summary = ?, rev = rev + 1000 WHERE session_id = ?", (head, json.dumps(summary), session))
# As the daemon does it: its index is behind.
db.execute("INSERT INTO find_logs (session_id, blocks, behind) VALUES (?, 0, 1) ON CONFLICT (session_id) DO UPDATE SET behind = 1", (session,))
db.commit()
print(head)
`
function grow(session) {
  ctl('daemon', 'stop')
  const head = Number(execFileSync('python3', ['-c', GROW, `${AGENTD_STATE_DIR}/agentd.db`, session, String(EVENTS)], { encoding: 'utf8' }))
  must(head >= EVENTS, `only ${head} events`)
  return head
}

const BEHIND = 'import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute("SELECT count(*) FROM find_logs WHERE behind = 1").fetchone()[0])'
const behind = () => execFileSync('python3', ['-c', BEHIND, `${AGENTD_STATE_DIR}/agentd.db`], { encoding: 'utf8' }).trim()

const make = (name) => {
  const { session_id: id } = JSON.parse(ctl('sessions', 'new', '--model', 'demo', '--name', name, '-C', WORKSPACE, '-o', 'json'))
  ctl('run', '-s', id, 'demo:\nsay the needle of the beginning')
  ctl('run', '-s', id, 'demo:\nrun echo some output of a command\nsay the answer of turn-number')
  return id
}
const nodes = (page) => page.evaluate(() => document.getElementsByTagName('*').length)
const browser = await launch()
const heap = async (page) => {
  const devtools = await browser.newCDPSession(page)
  await devtools.send('HeapProfiler.collectGarbage')
  const { usedSize } = await devtools.send('Runtime.getHeapUsage')
  return usedSize / 1024 / 1024
}
try {
  const id = make('long')
  const page = await open(browser, ctl('web', 'url').trim())
  await page.waitForURL('**/sessions')
  const at = new URL(page.url()).origin
  await page.goto(`${at}/s/${id}`)
  await page.getByText('the answer of turn-number').first().waitFor()

  step('a page that was away while 100,000 events happened')
  const head = grow(id)
  ctl('daemon', 'start')
  const begun = Date.now()
  await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')))
  await page.locator('article.say', { hasText: 'the answer of turn at 1000' }).last().waitFor()
  figures.catch_up_ms = Date.now() - begun
  await page.waitForTimeout(500)
  figures.nodes_after = await nodes(page)
  figures.heap_after_mb = Math.round(await heap(page))

  step('opened anew')
  const opened = Date.now()
  await page.goto(`${at}/s/${id}`)
  await page.locator('article.say', { hasText: 'the answer of turn at 1000' }).last().waitFor()
  figures.open_ms = Date.now() - opened

  step('scrolled up through many pages')
  for (let n = 0; n < 30; n += 1) {
    await page.locator('.box').first().evaluate((box) => (box.scrollTop = 0))
    await page.waitForTimeout(60)
  }
  figures.nodes_scrolled = await nodes(page)
  figures.heap_scrolled_mb = Math.round(await heap(page))

  step('its first words are found from its end')
  // What is committed has the index brought up beside the work.
  ctl('sessions', 'rename', id, 'longer')
  await until(() => behind() === '0', 'the index')
  await page.keyboard.press('Control+f')
  await page.getByLabel('Find in this session').last().fill('needle of the BEGINNING')
  const looked = Date.now()
  await page.keyboard.press('Enter')
  await page.locator('.marked', { hasText: 'needle of the beginning' }).waitFor()
  figures.find_ms = Date.now() - looked
  must(new URL(page.url()).searchParams.has('at'), 'the place is not in the address')
  await page.reload()
  await page.locator('.marked', { hasText: 'needle of the beginning' }).waitFor()
  console.log(JSON.stringify({ events: head, ...figures }))
  goals.most('catching up', figures.catch_up_ms, 3000)
  goals.most('opening', figures.open_ms, 3000)
  goals.most('finding the first words', figures.find_ms, 1000)
  must(Math.max(figures.nodes_after, figures.nodes_scrolled) <= 3000, 'too much is in the document')
  must(Math.max(figures.heap_after_mb, figures.heap_scrolled_mb) <= 120, 'too much is in memory')
  must(page.complaints.length === 0, page.complaints.join('\n'))
} finally {
  await browser.close()
}
