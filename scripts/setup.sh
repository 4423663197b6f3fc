#!/usr/bin/env bash
# Installs what a fresh Debian machine lacks. Does nothing that is done already.
#   setup.sh build   what `cargo build` needs (protoc, for etcd-client)
#   setup.sh test    that, and what the tests run: etcd, Chromium, Python and npm packages
set -euo pipefail
cd "$(dirname "$0")/.."

need=()
want() { command -v "$1" >/dev/null 2>&1 || need+=("$2"); }
want protoc protobuf-compiler
# etcd-client's build reads google/protobuf/*.proto, which Debian only recommends.
[ -e /usr/include/google/protobuf/descriptor.proto ] || need+=(libprotobuf-dev)
want cc build-essential
if [ "${1:-build}" = test ]; then
    want etcd etcd-server
    want etcdctl etcd-client
    want chromium chromium
    want npm npm
    want python3 python3
fi
if [ ${#need[@]} -gt 0 ]; then
    echo "installing: ${need[*]}"
    sudo=""; [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null
fi

if [ "${1:-build}" = test ]; then
    command -v cargo-nextest >/dev/null 2>&1 || cargo install --locked cargo-nextest
    if [ ! -x .tools/python/bin/python ]; then
        python3 -m venv .tools/python
    fi
    .tools/python/bin/python -m pip install --quiet --disable-pip-version-check -r tests/sdk/requirements.txt
    [ -d tests/sdk/node/node_modules/openai ] || npm --prefix tests/sdk/node ci --silent --no-audit --no-fund
    [ -d tests/browser/node_modules/playwright-core ] || npm --prefix tests/browser ci --silent --no-audit --no-fund
fi
