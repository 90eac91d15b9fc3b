#!/usr/bin/env bash
# Owns: `make interop`: turns of both APIs through a LiteLLM proxy in front of aimock.
# Guarantees: everything it starts listens on loopback and ends with it; the proxy lives in an environment of its own.
# Usage: interop.sh TARGET_DIRECTORY
set -euo pipefail

target=$(cd "$1" && pwd)
venv=$target/interop
bin=$target/debug
work=$(mktemp -d)
pids=()
finish() {
    AGENTD_STATE_DIR=$work/state "$bin/agentctl" daemon stop >/dev/null 2>&1 || true
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap finish EXIT

if [ ! -x "$venv/bin/litellm" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet 'litellm[proxy]==1.106.2'
fi

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
wait_for() { # address, the server's pid
    for _ in $(seq 600); do
        kill -0 "$2" 2>/dev/null || { cat "$work/proxy.log" >&2; echo "the server at $1 ended" >&2; exit 1; }
        if python3 -c "import urllib.request as u; u.urlopen('$1', timeout=2)" 2>/dev/null; then return; fi
        sleep 0.2
    done
    echo "nothing answers at $1" >&2
    exit 1
}

mock=$(free_port)
cat >"$work/fixtures.json" <<'JSON'
{"fixtures": [
  {"match": {"userMessage": "count the lines", "hasToolResult": false},
   "response": {"content": "I look.", "toolCalls": [{"name": "exec", "arguments": "{\"command\":\"wc -l <data; echo ran >>proof\"}"}]}},
  {"match": {"userMessage": "count the lines", "hasToolResult": true}, "response": {"content": "There are three lines."}}
]}
JSON
"$AGENTD_TEST_NODE" "$AGENTD_TEST_AIMOCK/node_modules/@copilotkit/aimock/dist/cli.js" -p "$mock" -f "$work/fixtures.json" >"$work/mock.log" 2>&1 &
pids+=($!)

proxy=$(free_port)
cat >"$work/litellm.yaml" <<YAML
model_list:
  - model_name: through
    litellm_params: {model: openai/gpt-4o, api_base: "http://127.0.0.1:$mock/v1", api_key: sk-none}
YAML
# It serves nobody without a key, which is made up for this run.
LITELLM_MASTER_KEY=sk-$(openssl rand -hex 16)
export LITELLM_MASTER_KEY
LITELLM_LOCAL_MODEL_COST_MAP=True "$venv/bin/litellm" --config "$work/litellm.yaml" --host 127.0.0.1 --port "$proxy" >"$work/proxy.log" 2>&1 &
pids+=($!)
wait_for "http://127.0.0.1:$proxy/health/liveliness" $!

export AGENTD_STATE_DIR=$work/state XDG_CONFIG_HOME=$work/config
mkdir -p "$work/config/agentd"
for api in chat responses; do
    mkdir -p "$work/$api"
    printf 'a\nb\nc\n' >"$work/$api/data"
    cat >"$work/config/agentd/config.toml" <<TOML
[providers.litellm]
base_url = "http://127.0.0.1:$proxy/v1"
api = "$api"
api_key_env = "LITELLM_MASTER_KEY"
TOML
    "$bin/agentctl" daemon stop >/dev/null 2>&1 || true
    answer=$("$bin/agentctl" -C "$work/$api" run --new --model litellm/through --last "count the lines" || true)
    [ "$answer" = "There are three lines." ] || { echo "$api: answered '$answer'" >&2; tail -${PROXY_LINES:-20} "$work/proxy.log" >&2; exit 1; }
    [ "$(cat "$work/$api/proof")" = ran ] || { echo "$api: the tool did not run once" >&2; exit 1; }
    echo "$api through LiteLLM: ok"
done
