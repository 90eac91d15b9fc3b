# The one vocabulary of commands: people, scripts and CI type the same.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

TARGET := $(or $(CARGO_TARGET_DIR),target)
# What setup.sh found, for the tests.
ENV := set -a; . $(TARGET)/test-env; set +a;

.PHONY: help demo build check test nightly setup ui screens install uninstall bench interop eval

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

demo: ## watch it find and fix a failing test; installs what is missing, needs no key
	@bash daemon/demo/demo.sh

build: ## the programs, optimised, in target/release
	cargo build --locked --release --workspace --bins

# Where `make install` puts things; DESTDIR for packages. FROM: another directory with built programs.
PREFIX ?= $(HOME)/.local
FROM ?= $(TARGET)/release

install: $(if $(filter command line environment,$(origin FROM)),,build) ## programs and systemd units, into PREFIX (~/.local)
	@bash systemd/install.sh install "$(PREFIX)" "$(FROM)" "$(DESTDIR)"

uninstall: ## take exactly those away again; sessions and configuration stay
	@bash systemd/install.sh uninstall "$(PREFIX)" "$(FROM)" "$(DESTDIR)"

check: ## what is quick: format, lints, unit tests
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo test --locked --workspace --lib --bins
	cargo test --locked -p agentd --test tidy

setup: # what the tests need beyond Rust
	@bash daemon/tests/setup.sh

test: setup ## everything, as CI does it
	cargo build --locked --workspace --all-targets
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	$(ENV) if cargo nextest --version >/dev/null 2>&1; then \
	    cargo nextest run --locked --workspace --no-fail-fast --config-file daemon/tests/nextest.toml; \
	    cargo test --locked --workspace --doc; \
	else \
	    cargo test --locked --workspace --no-fail-fast; \
	fi
	bash daemon/tests/api_example.sh
	@! pgrep -af "bwrap .*$(abspath $(TARGET))/(debug|release)/agent-jinit" || { echo "the tests left these jails behind" >&2; exit 1; }

# Seconds without work whose writes are counted; 600 at night.
IDLE ?= 60

bench: ## measure what is promised, into docs/BENCHMARKS.md; takes minutes
	@bash -c '. daemon/tests/prerequisites.sh; need_rust; need_programs bwrap; need_namespaces'
	cargo build --locked --release --workspace --bins --bench bench
	cargo bench --locked --workspace --bench bench -- --idle $(IDLE) --write $(CURDIR)/docs/BENCHMARKS.md

eval: ## how many exercises a model solves: make eval MODEL=PROVIDER/NAME; needs a key or a server, spends money
	@test -n "$(MODEL)" || { echo "error: name a model: make eval MODEL=PROVIDER/NAME (its key exported, such as OPENAI_API_KEY), or a local server's model" >&2; exit 2; }
	@bash -c '. daemon/tests/prerequisites.sh; need_rust; need_programs bwrap; need_namespaces'
	cargo build --locked --release --workspace --bins --bench eval
	EVAL_MODEL="$(MODEL)" EVAL_RUNS="$(RUNS)" EVAL_LANGUAGES="$(LANGUAGES)" EVAL_COUNT="$(COUNT)" \
	    EVAL_EXERCISES="$(EXERCISES)" EVAL_PEERS="$(PEERS)" cargo bench --locked --workspace --bench eval

# The bench is built along: built alone, the programs' features are others, and they would be built twice.
nightly: ## everything, with the long loops and the measurements
	cargo build --locked --release --workspace --bins --bench bench
	AGENTD_TEST_LONG=1 AGENTD_TEST_PROGRAMS=$(abspath $(TARGET))/release $(MAKE) test
	$(MAKE) bench IDLE=600

interop: setup ## turns of both APIs through a LiteLLM proxy; installs it (750 MB) into target/interop
	cargo build --locked --workspace --bins
	$(ENV) bash daemon/tests/interop.sh $(TARGET)

ui: setup ## the page, built from its sources into gateway-web/ui/dist
	$(ENV) export PATH="$$(dirname "$$AGENTD_TEST_NODE"):$$PATH"; cd gateway-web/ui && npm run gen && npm run check && npm run build

screens: setup ## pictures of the pages, into docs/screens
	cargo build --locked --workspace --bins
	$(ENV) SCREENS=$(CURDIR)/docs/screens cargo test --locked -p agent-web --test browser every_page
