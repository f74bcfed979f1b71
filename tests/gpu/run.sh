#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# On a machine with an NVIDIA GPU: builds what runs there, tests it against the oracle, checks the kernels with compute-sanitizer where that is installed, and measures.
# What it found stands in a short table at the end. Architectures: GOLDFINCH_CUDA_ARCHITECTURES, by default those of the GPUs here.
set -euo pipefail
cd "$(dirname "$0")/../.."

architectures=${GOLDFINCH_CUDA_ARCHITECTURES:-$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | tr -d . | sort -u | sed 's/^90$/90a/' | paste -sd ';')}
results=()
run() {  # run NAME COMMAND...: notes how it went
    local name=$1 began=$SECONDS
    shift
    if "$@" >"build/gpu_$name.log" 2>&1; then
        results+=("$name: passed ($((SECONDS - began)) s)")
    else
        results+=("$name: FAILED ($((SECONDS - began)) s), see build/gpu_$name.log")
        tail -n 20 "build/gpu_$name.log"
    fi
}
build() {
    cmake --preset cuda -D GOLDFINCH_CUDA_ARCHITECTURES="$architectures"
    cmake --build --preset cuda --parallel "$(nproc)" --target test_gpu --target cuda --target bench_gpu --target goldfinch-bench
}

mkdir -p build
rm -f build/gpu_*.log
run build build
run test build/cuda/tests/gpu/test_gpu
run test_without_graphs env GOLDFINCH_CUDA_GRAPHS=off build/cuda/tests/gpu/test_gpu
run example build/cuda/examples/cuda
if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck synccheck initcheck; do
        run "$tool" timeout 120 compute-sanitizer --tool "$tool" --error-exitcode 1 build/cuda/tests/gpu/test_gpu --subcase='*tiny, float, goldfinch::compressed_keys<float>'
    done
else
    results+=('compute-sanitizer: skipped, it is not installed')
fi
run kernels build/cuda/bench/gpu/bench_gpu
if python3 -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
    run torch python3 bench/gpu/torch_products.py
else
    results+=('torch: skipped, there is no PyTorch with CUDA')
fi
models=(build/cuda/examples/goldfinch-bench --backend cuda --shape 24,2048 -n 32 -r 3)
run models "${models[@]}" --weights bf16,int8 --cache compressed,expanded -p 4096 -d 0,4096
run models_without_graphs env GOLDFINCH_CUDA_GRAPHS=off "${models[@]}" -p 0

printf '\n%s\n' "$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader)"
grep -h 'relative L2' build/gpu_test.log || true
cat build/gpu_kernels.log
if [ -e build/gpu_torch.log ]; then cat build/gpu_torch.log; fi
cat build/gpu_models.log
sed 's/^/without graphs: /' build/gpu_models_without_graphs.log
printf '%s\n' "${results[@]}"
[[ ! "${results[*]}" =~ FAILED ]]
