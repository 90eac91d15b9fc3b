#!/usr/bin/env bash
# Runs the program in docs/API.md, word for word, against a daemon of its own.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
target=${CARGO_TARGET_DIR:-target}
. "$target/test-env"

home=$(mktemp -d /tmp/agentd-api.XXXXXX)
daemon=
cleanup() {
    if [ -n "$daemon" ]; then
        # Ends the jails as well; a signal would leave them to the next daemon. It may be gone by itself by now.
        "$target/debug/agentctl" --no-autostart daemon stop >/dev/null 2>&1 || kill "$daemon" 2>/dev/null || true
        wait "$daemon" 2>/dev/null || true
    fi
    rm -rf "$home"
}
trap cleanup EXIT

sed -n '/^```python$/,/^```$/p' docs/API.md | sed '1d;$d' >"$home/example.py"
[ -s "$home/example.py" ] || { echo "docs/API.md has no program" >&2; exit 1; }

mkdir -p "$home/project/docs" "$home/project/src"
export AGENTD_STATE_DIR=$home/state AGENTD_SOCKET=$home/agentd.sock AGENTD_CONFIG=$home/config.toml
: >"$AGENTD_CONFIG"
"$target/debug/agentd" --foreground 2>"$home/log" &
daemon=$!
for _ in $(seq 100); do
    [ -S "$AGENTD_SOCKET" ] && break
    kill -0 "$daemon" 2>/dev/null || { cat "$home/log" >&2; exit 1; }
    sleep 0.1
done

if ! timeout 120 "$AGENTD_TEST_PYTHON" "$home/example.py" "$home/project"; then
    echo "--- the daemon's log" >&2
    cat "$home/log" >&2
    exit 1
fi
left=$(ls -A "$home/project" | tr '\n' ' ')
[ "$left" = "docs src " ] || echo "note: while the session lives, the project has: $left"
echo "docs/API.md: the program works"
