// Sets the theme before the first paint, so that nobody sees a flash of the other one.
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
})()
