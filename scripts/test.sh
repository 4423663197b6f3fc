#!/usr/bin/env bash
# Passes all tests on a fresh machine: installs what is missing, then formats, lints,
# documents and tests everything. `.ci/run` runs exactly this.
set -euo pipefail
cd "$(dirname "$0")/.."
./scripts/setup.sh test
cargo fmt --all --check
cargo clippy --workspace --all-targets --locked -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet
./scripts/deny.sh
cargo nextest run --workspace --locked --no-fail-fast
