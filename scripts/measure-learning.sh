#!/usr/bin/env bash
# Every figure on learning in the README, from labelled sets.
#   measure-learning.sh DATA   where DATA/<set>/{prompts,outcomes}.jsonl[.zst] are
set -euo pipefail
cd "$(dirname "$0")/.."
data="${1:?say where the labelled sets are}"
# Learning and scoring are optimised in debug builds as well.
cargo build --locked
spillway="${CARGO_TARGET_DIR:-target}/debug/spillway"

evaluate() {
    local set=$1
    shift
    echo
    echo "## $set $*"
    "$spillway" evaluate --prompts "$(ls "$data/$set"/prompts.jsonl*)" \
        --outcomes "$(ls "$data/$set"/outcomes.jsonl*)" "$@"
}

echo "# $(date -u +%F), $(nproc) cores, $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2)"
for set in mmlu_pro llmrouter zeroeval; do
    evaluate "$set" --guarantee --svg "docs/curve-$set.svg"
done
evaluate bfcl_dev --resplit
for set in mmlu_pro llmrouter zeroeval; do evaluate "$set" --unseen; done
evaluate llmrouter --newcomer llama-3.1-nemotron-51b-instruct
evaluate llmrouter --newcomer gemma-2-9b-it
for set in mmlu_pro llmrouter; do evaluate "$set" --off-policy; done
# Starting from no labels: traffic, audits and a simulated judge teach. Draws as in the README.
teach() {
    local set=$1 limit=$2
    shift 2
    echo
    echo "## $set, starting from no labels $*"
    RUST_LOG=error "$spillway" simulate --learn --split train --bar 0.97 --limit "$limit" \
        --prompts "$(ls "$data/$set"/prompts.jsonl*)" --outcomes "$(ls "$data/$set"/outcomes.jsonl*)" "$@"
}
teach mmlu_pro 5000 --svg docs/teach-mmlu_pro.svg
teach llmrouter 5000
teach llmrouter 5000 --with-slices
teach mmlu_pro 8400 --audits 0.05 --event 2500:appears:Llama-3.1-70B-Instruct \
    --event 4500:worse:gemini-1.5-flash-002:0.5 --event 6500:price:gemini-1.5-pro-002:2 \
    --svg docs/teach-drift.svg
echo
echo "## time and size"
history="$(mktemp -d)"
trap 'rm -rf "$history"' EXIT
"$spillway" import --history "$history" --prompts "$(ls "$data"/mmlu_pro/prompts.jsonl*)" \
    --outcomes "$(ls "$data"/mmlu_pro/outcomes.jsonl*)"
time "$spillway" train --history "$history" --split all --out "$history/table" >/dev/null
"$spillway" table show "$history/table" | tail -2
cargo bench --locked -p spillway-routing --bench score
cargo bench --locked -p spillway-classifier --bench update
