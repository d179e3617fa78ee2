#!/usr/bin/env bash
# Everything for a machine with an NVIDIA GPU in one call: correctness first, then speed. That machine
# needs the driver, CUDA's NVRTC and headers, and for the last part Python with PyTorch; no Rust.
#
# Here, build and pack (46 MB):
#   benches/gpu.sh pack gpu.tar.xz
# There, in an empty folder:
#   tar xJf gpu.tar.xz && benches/gpu.sh run [OUT [PART...]]
# OUT (default: results/) gets the whole logs; the table goes to standard output, and each part's numbers
# as soon as it ends. Where a call may take ten minutes, name parts: doctor operations-correct
# models-correct demo-on-cuda operations-speed pytorch-speed step-speed.
set -uo pipefail

usage() {
    sed -n '2,11p' "$0"
    exit 2
}

newest() {
    find target/release/deps -maxdepth 1 -type f -executable -name "$1-*" -printf '%T@ %p\n' |
        sort -n | tail -1 | cut -d' ' -f2
}

pack() {
    cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
    local archive=$1
    cargo test --release --workspace --no-run || exit 1
    cargo bench --workspace --bench operations --no-run || exit 1
    staging=$(mktemp -d)
    trap 'rm -rf "$staging"' EXIT
    mkdir -p "$staging/bin" "$staging/benches" "$staging/kernels" "$staging/trainer" "$staging/tests"
    cp "$(newest kernels)" "$staging/bin/kernels"
    cp "$(newest it)" "$staging/bin/it"
    cp "$(newest operations)" "$staging/bin/operations"
    cp target/release/trainer "$staging/bin/trainer"
    strip "$staging"/bin/*
    cp -r tests/golden "$staging/tests/"
    cp -r benches/gpu.sh benches/side_by_side "$staging/benches/"
    tar cJf "$archive" -C "$staging" .
    ls -lh "$archive"
}

# A part with its name, its verdict and what it took, where it was asked for.
part() {
    local name=$1 log="$out/$1.log" started=$SECONDS verdict=ok
    shift
    if [[ -n $parts && " $parts " != *" $name "* ]]; then
        return
    fi
    "$@" >"$log" 2>&1 || verdict="FAILED ($log)"
    printf '%-28s %-24s %4d s\n' "$name" "$verdict" $((SECONDS - started))
    case $name in
        *-speed) cat "$log" ;;
        demo-on-cuda) grep -h 'held-out' "$log" ;;
    esac
}

run() {
    out=$(mkdir -p "$1" && cd "$1" && pwd)
    parts="${*:2}"
    local root=$PWD
    nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | tee "$out/gpu.txt"
    part doctor bin/trainer doctor
    # The operations' tests read the device from here; wgpu is left out where there is no Vulkan.
    export KEEP_TEST_DEVICE=cuda
    (cd kernels && part operations-correct "$root/bin/kernels" --skip cuda_on_cpu)
    (cd trainer && part models-correct "$root/bin/it" parity generation)
    unset KEEP_TEST_DEVICE
    part demo-on-cuda bin/trainer --stage rl --device cuda --tui never --output "$out/demo"
    part operations-speed bin/operations --device cuda
    if python3 -c 'import torch' 2>/dev/null; then
        part pytorch-speed python3 benches/side_by_side/gpu.py
        part step-speed python3 benches/side_by_side/gpu_step.py \
            --trainer bin/trainer --tokenizer tests/golden/models/gemma2
    fi
}

case "${1:-}" in
    pack) pack "${2:?where to put the archive}" ;;
    run) run "${2:-results}" "${@:3}" ;;
    *) usage ;;
esac
