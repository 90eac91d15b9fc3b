// Before anything else: the theme, so that nobody sees a flash of the other one, and what a session's page is made of.
;(function () {
  var wish = null
  try {
    wish = localStorage.getItem('agentd.theme')
  } catch (_) {
    // Storage can be switched off; the system's choice stands then.
  }
  var dark = matchMedia('(prefers-color-scheme: dark)').matches
  var high = matchMedia('(prefers-contrast: more)').matches
  var theme = wish && wish !== 'system' ? wish : high ? 'contrast' : dark ? 'dark' : 'light'
  document.documentElement.dataset.theme = theme
  var session = document.querySelector('meta[name=agentd-session]')
  if (!session || !/^\/s\/[^/]+$/.test(location.pathname)) return
  session.content.split(' ').forEach(function (name) {
    var link = document.createElement('link')
    link.href = name
    if (/\.css$/.test(name)) link.rel = 'stylesheet'
    else link.rel = 'modulepreload'
    link.crossOrigin = ''
    document.head.append(link)
  })
})()
