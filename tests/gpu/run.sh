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
    cmake --preset cuda -D GOLDFINCH_CUDA_ARCHITECTURES="$architectures" -D GOLDFINCH_BUILD_BENCHMARKS=ON
    cmake --build --preset cuda --parallel "$(nproc)" --target test_gpu --target cuda --target bench_gpu
}

mkdir -p build
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
run bench build/cuda/bench/bench_gpu
run bench_without_graphs env GOLDFINCH_CUDA_GRAPHS=off build/cuda/bench/bench_gpu

printf '\n%s\n' "$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader)"
grep -h 'relative L2' build/gpu_test.log || true
cat build/gpu_bench.log
sed 's/^/without graphs: /' build/gpu_bench_without_graphs.log
printf '%s\n' "${results[@]}"
[[ ! "${results[*]}" =~ FAILED ]]
