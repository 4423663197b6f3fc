.DEFAULT_GOAL := help
.PHONY: help demo test check test-fast goldens proto bench bench-decide bench-gateway bench-promises bench-day bench-scale measure-tokens measure-learning

help: ## What there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

demo: ## Build and start everything with simulated providers: no keys, no etcd
	@./scripts/setup.sh build
	cargo run --locked -- demo

test: ## Install what is missing and pass all tests
	./scripts/test.sh

check: ## Format, lint, document
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet

test-fast: ## The pure core only
	cargo nextest run -p spillway-routing -p spillway-classifier

goldens: ## Rewrite golden files
	SPILLWAY_REWRITE=1 cargo nextest run --workspace

proto: ## Regenerate the code of proto/
	SPILLWAY_REWRITE=1 cargo test -p spillway-proto --test bootstrap

bench: bench-decide bench-gateway ## Decision latency, and gateways side by side

bench-decide: ## Facts, scores and decisions for several lengths of prompt and numbers of candidates
	cargo bench -p spillway-routing --bench decide
	cargo bench -p spillway-routing --bench score

bench-gateway: ## Spillway, nginx and what else is installed side by side; ARGS="--quick --only nginx,spillway"
	ulimit -n $$(ulimit -Hn); cargo bench --locked -p spillway --bench gateway -- $(ARGS)

bench-promises: ## A storm of retries, clients that leave, five thousand open streams
	cargo build --release
	ulimit -n 65536; SPILLWAY_BIN=$${CARGO_TARGET_DIR:-$(CURDIR)/target}/release/spillway cargo bench --profile dev --bench promises

bench-day: ## A simulated day of requests that may wait for cheap tiers
	cargo bench --profile dev --bench day

bench-scale: ## Training, history and the push of tables as sizes grow; ARGS="training --sizes 10000"
	ulimit -n $$(ulimit -Hn); cargo bench --locked -p spillway --bench scale -- $(ARGS)

measure-tokens: ## How well tokens are estimated; texts are read from ../shared/tokens
	cargo nextest run --workspace -E 'binary(tokens)' --no-capture

measure-learning: ## Every figure on learning; DATA=<directory of labelled sets>
	./scripts/measure-learning.sh $(DATA)
