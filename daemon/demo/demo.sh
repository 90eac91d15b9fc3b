#!/usr/bin/env bash
# The main job in front of your eyes: a failing test in a small C project is found and fixed by the built-in demo
# model, which is offline and scripted, with real tools in a real jail. Nothing of yours is touched: the project is
# a copy in a temporary directory, and the daemon has a state directory of its own there.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
. daemon/tests/prerequisites.sh

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
if [ ! -t 1 ] || [ -n "${NO_COLOR:-}" ]; then
    say() { printf '\n%s\n' "$*"; }
fi

say "1. What is needed"
need_rust
need_programs bwrap make cc git
need_namespaces

say "2. Building agentd and agentctl (the first time takes a few minutes)"
cargo build --locked --profile demo --workspace --bins
bin=${CARGO_TARGET_DIR:-$root/target}/demo

# Short, since socket paths are; private, since a daemon's state is.
home=$(mktemp -d /tmp/agentd-demo.XXXXXX)
project=$home/post-tools
export AGENTD_STATE_DIR=$home/state AGENTD_SOCKET=$home/agentd.sock AGENTD_CONFIG=$home/config.toml
touch "$AGENTD_CONFIG"
stop() { "$bin/agentctl" daemon stop >/dev/null 2>&1 || true; }
trap stop EXIT

cp -R daemon/demo/project "$project"
git_demo() { git -C "$project" -c user.name=demo -c user.email=demo@localhost -c commit.gpgsign=false "$@"; }
git_demo init --quiet
git_demo add --all
git_demo commit --quiet --message "A small project with a failing test"

say "3. The project, and its test: one fails"
(cd "$project" && make --no-print-directory test) && { echo "the tests pass already; the demo has lost its point" >&2; exit 1; }

say "4. agentctl run --model demo \"The tests fail. Find out why and fix it.\""
answered=0
"$bin/agentctl" run --model demo -C "$project" "The tests fail. Find out why and fix it." || answered=$?

say "5. What it changed"
git_demo --no-pager diff

say "6. The proof: the tests, run outside of the jail"
fixed=0
(cd "$project" && make --no-print-directory clean test) || fixed=$?
if [ "$answered" -ne 0 ] || [ "$fixed" -ne 0 ]; then
    echo >&2
    echo "demo failed: agentctl run ended with $answered, make test with $fixed" >&2
    echo "the daemon's log: $AGENTD_STATE_DIR/agentd.log" >&2
    exit 1
fi

cat <<END

It works. What you can type next (PATH first, so that the names are short):

  export PATH="$bin:\$PATH"
  cd YOUR/PROJECT
  agentctl exec -- make test                     a command in the jailed shell of this directory
  agentctl exec -- 'cd src && export X=1'        the shell keeps its directory and variables …
  agentctl exec -- 'pwd; echo \$X'                … for the next command
  agentctl shell                                 the same shell, interactive
  export OPENAI_API_KEY=…                        then, with a real model:
  agentctl run --model openai/MODEL "Why does the build warn?"
  agentctl doctor                                is everything in place, and does the jail hold?

The demo's files are in $home; remove them when you like.
END
