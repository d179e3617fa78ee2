#!/usr/bin/env bash
# The demo from nothing on three seeds: minutes, and the mean held-out reward before and after
# reinforcement learning. Slow (three demos), so it is no part of the tests.
#
#   benches/demo.sh [DEVICE]        DEVICE as --device takes it; cpu by default
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

device=${1:-cpu}
cargo build --release -p trainer
runs=$(mktemp -d)
trap 'rm -rf "$runs"' EXIT

for seed in 1 2 3; do
    started=$SECONDS
    target/release/trainer --stage rl --seed "$seed" --device "$device" --tui never \
        --output "$runs/$seed" >"$runs/$seed.txt" 2>"$runs/$seed.log"
    minutes=$(awk "BEGIN { printf \"%.1f\", ($SECONDS - $started) / 60 }")
    # The last line of the table: group, n, then start, end and change of each metric.
    all=$(awk '$1 == "all"' "$runs/$seed.txt")
    echo "seed $seed  $minutes min  $all"
done
