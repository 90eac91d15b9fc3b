// What stands between a browser and the gateway in tests: a delaying line, and nginx as people run it.
import { execFileSync, spawn } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import { until } from './browser.mjs'

/** A port nobody has at this moment. */
export function freePort() {
  return new Promise((done) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => done(port))
    })
  })
}

/** Where the gateway listens. */
export function gatewayPort() {
  const file = join(process.env.AGENTD_STATE_DIR, 'agent-web.json')
  return Number(new URL(JSON.parse(readFileSync(file, 'utf8')).url).port)
}

/** A line on which every byte takes `line.delay` milliseconds each way; counts requests and what is open. */
export async function slowLine(port, to, delay) {
  const line = { delay, requests: [], sockets: new Set() }
  const pass = (from, into) => {
    let at = Promise.resolve()
    from.on('data', (data) => {
      const due = Date.now() + line.delay
      at = at.then(() => new Promise((done) => setTimeout(done, Math.max(0, due - Date.now())))).then(() => into.destroyed || into.write(data))
    })
    from.on('close', () => at.then(() => into.destroy()))
    from.on('error', () => into.destroy())
  }
  const server = net.createServer({ noDelay: true }, (near) => {
    const far = net.connect({ port: to, host: '127.0.0.1', noDelay: true })
    line.sockets.add(near)
    near.on('close', () => line.sockets.delete(near))
    near.on('data', (data) => {
      const first = /^(GET|POST) (\S+) HTTP/.exec(data.toString('latin1'))
      if (first) line.requests.push(`${first[1]} ${first[2]}`)
    })
    pass(near, far)
    pass(far, near)
  })
  await new Promise((done) => server.listen(port, '127.0.0.1', done))
  line.close = () => {
    for (const socket of line.sockets) socket.destroy()
    server.close()
  }
  return line
}

/** nginx with TLS, as its documentation says; it keeps answers back until they end, whatever they ask for. */
export async function nginx(dir, port, to) {
  mkdirSync(dir, { recursive: true })
  const [cert, key] = [join(dir, 'cert.pem'), join(dir, 'key.pem')]
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-keyout', key, '-out', cert], { stdio: 'ignore' })
  const at = (name) => join(dir, name)
  writeFileSync(
    at('nginx.conf'),
    `daemon off;
worker_processes 1;
pid ${at('pid')};
error_log ${at('error.log')};
events {}
http {
  access_log off;
  client_body_temp_path ${at('body')};
  proxy_temp_path ${at('proxy')};
  fastcgi_temp_path ${at('fastcgi')};
  uwsgi_temp_path ${at('uwsgi')};
  scgi_temp_path ${at('scgi')};
  server {
    listen 127.0.0.1:${port} ssl;
    ssl_certificate ${cert};
    ssl_certificate_key ${key};
    location / {
      proxy_pass http://127.0.0.1:${to};
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_buffering on;
      proxy_ignore_headers X-Accel-Buffering;
      proxy_read_timeout 60s;
    }
  }
}
`,
  )
  const child = spawn('nginx', ['-p', dir, '-c', at('nginx.conf'), '-e', at('error.log')], { stdio: 'ignore', env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` } })
  let failed
  child.on('error', (error) => (failed = error))
  await until(async () => {
    if (failed) throw new Error(`no nginx here: apt-get install nginx-light (${failed.message})`)
    return new Promise((done) => {
      const socket = net.connect(port, '127.0.0.1', () => (socket.destroy(), done(true)))
      socket.on('error', () => done(false))
    })
  }, 'nginx listens')
  return { close: () => child.kill('SIGTERM') }
}
