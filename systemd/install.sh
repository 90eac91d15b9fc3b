#!/usr/bin/env bash
# `make install` and `make uninstall`: puts the programs, the units and, where agentctl can write them, manual pages and
# completions below PREFIX (below DESTDIR, for packages), and takes exactly those away again. Configuration, keys and
# sessions are never touched.
#   systemd/install.sh install|uninstall PREFIX BUILT [DESTDIR]
set -euo pipefail

fail() {
    printf 'error: %s\n' "$1" >&2
    shift
    for next in "$@"; do printf '  next: %s\n' "$next" >&2; done
    exit 2
}

[ $# -ge 3 ] || fail "install.sh install|uninstall PREFIX BUILT [DESTDIR]" "make install"
verb=$1 prefix=${2%/} built=$3 dest=${4:-}
case $prefix in
/*) ;;
*) fail "PREFIX must be an absolute path, and this is '$2'" "make $verb PREFIX=$PWD/$2" ;;
esac
# It becomes part of ExecStart=, where blanks, quotes, % and $ mean something.
case $prefix in
*[!A-Za-z0-9/._+@=-]*) fail "PREFIX has a character that systemd would read as its own: '$prefix'" "choose a plain path" ;;
esac
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
to=$dest$prefix
programs=(agentd agentctl agent-tui agent-web)
units=(agentd.socket agentd.service agent-web.service)
list=$to/share/agentd/installed

# A unit of a manager that runs would go on from files that are gone.
ask_systemd() { [ -z "$dest" ] && [ -S "${XDG_RUNTIME_DIR:-/nowhere}/systemd/private" ] && systemctl --user "$@"; }

uninstall() {
    [ -f "$list" ] || { echo "nothing is installed in $to"; return 0; }
    ask_systemd disable --now agentd.socket agentd.service agent-web.service 2>/dev/null || true
    local file
    while IFS= read -r file; do rm -f -- "$to/$file"; done <"$list"
    rm -f -- "$list"
    # Only what is empty: a prefix is shared with others.
    for file in share/agentd libexec/agentd libexec share/systemd/user share/systemd \
        share/bash-completion/completions share/bash-completion share/zsh/site-functions share/zsh \
        share/fish/vendor_completions.d share/fish share/man/man1 share/man share bin; do
        rmdir -- "$to/$file" 2>/dev/null || true
    done
    ask_systemd daemon-reload 2>/dev/null || true
    echo "removed from $to; configuration and sessions are untouched"
}

installed=()
put() { # put MODE SOURCE NAME
    install -D -m "$1" -- "$2" "$to/$3"
    installed+=("$3")
}

install_all() {
    local name
    for name in "${programs[@]}" agent-jinit; do
        [ -x "$built/$name" ] || fail "$built/$name is not built" "make build"
    done
    work=$(mktemp -d)
    trap 'rm -rf -- "$work"' EXIT
    for name in "${programs[@]}"; do put 755 "$built/$name" "bin/$name"; done
    put 755 "$built/agent-jinit" libexec/agentd/agent-jinit
    for name in "${units[@]}"; do
        sed "s|@BINDIR@|$prefix/bin|" "$here/$name" >"$work/$name"
        put 644 "$work/$name" "share/systemd/user/$name"
    done
    if mkdir "$work/man" && "$built/agentctl" man "$work/man" >/dev/null 2>&1; then
        for name in "$work"/man/*.1; do put 644 "$name" "share/man/man1/${name##*/}"; done
    fi
    if "$built/agentctl" completions bash >"$work/bash" 2>/dev/null; then
        put 644 "$work/bash" share/bash-completion/completions/agentctl
        "$built/agentctl" completions zsh >"$work/zsh"
        put 644 "$work/zsh" share/zsh/site-functions/_agentctl
        "$built/agentctl" completions fish >"$work/fish"
        put 644 "$work/fish" share/fish/vendor_completions.d/agentctl.fish
    fi
    mkdir -p "${list%/*}"
    printf '%s\n' "${installed[@]}" >"$list"
    ask_systemd daemon-reload 2>/dev/null || true
    echo "installed in $to"
    echo "  systemctl --user daemon-reload && systemctl --user enable --now agentd.socket"
    echo "  loginctl enable-linger     so that work goes on when you log out"
    case :$PATH: in *":$prefix/bin:"*) ;; *) echo "  export PATH=\"$prefix/bin:\$PATH\"" ;; esac
}

case $verb in
install) install_all ;;
uninstall) uninstall ;;
*) fail "'$verb' is neither install nor uninstall" "make install" ;;
esac
