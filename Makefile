.PHONY: help build lint deny test demo bench cost

# Arguments of the demo: make demo DEMO="--orders 2300000 --baseline"
DEMO ?=

help:
	@echo "make demo   the whole story on a throwaway PostgreSQL server"
	@echo "make test   every test (starts its own PostgreSQL servers)"
	@echo "make lint   formatting, clippy and, where cargo-deny is installed, deny"
	@echo "make deny   licences, banned crates and sources of all dependencies"
	@echo "make build  the release binary"
	@echo "make cost   what a running migration costs the application, and lag under load"
	@echo "make bench  copy, verify and stream beside PostgreSQL's own means"

build:
	cargo build --release

lint:
	cargo fmt --check
	cargo clippy --all-targets --all-features -- -D warnings
	if cargo deny --version >/dev/null 2>&1; then $(MAKE) deny; fi

# Offline, so that it says the same everywhere, once the crates of every platform are
# here. `cargo deny check advisories` needs the network.
deny:
	cargo fetch --locked
	cargo deny --offline check licenses bans sources

# The tests start servers of their own; their programs are installed where they are
# missing. cargo-nextest runs each test in a process of its own and in parallel; without
# it the same tests run under cargo test.
test:
	scripts/install-postgresql
	scripts/install-prometheus
	scripts/install-chromium
	if cargo nextest --version >/dev/null 2>&1; then \
		cargo nextest run --all-features --no-fail-fast && cargo test --doc --all-features; \
	else \
		cargo test --all-features; \
	fi

demo:
	scripts/install-postgresql
	cargo build --release
	target/release/crossfade demo $(DEMO)

# Arguments: make bench BENCH="--orders 2300000 --rounds 5"
BENCH ?=

bench:
	scripts/install-postgresql
	cargo build --release
	cargo run --release --example bench -- $(BENCH)

# Arguments: make cost COST="--rate 800 --rounds 5"
COST ?=

cost:
	scripts/install-postgresql
	cargo build --release
	cargo run --release --example cost -- $(COST)
