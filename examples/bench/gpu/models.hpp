// SPDX-License-Identifier: Apache-2.0
// The models that goldfinch-bench measures on a GPU: models.cu compiles them, gpu.cpp calls them.
#pragma once

#include <goldfinch/cuda.hpp>

namespace bench {

// nvcc cannot spell the value of a config in what is instantiated.
inline constexpr goldfinch::config L12_D768 = goldfinch::presets::goldfinch_0b1;
inline constexpr goldfinch::config L24_D2048 = goldfinch::presets::goldfinch_1b5;
using compressed = goldfinch::compressed_keys<goldfinch::bf16>;
using expanded = goldfinch::expanded_kv<goldfinch::bf16>;

}  // namespace bench

// BENCH_MODEL(config, weights, cache) of each. Smaller ones would fit in a GPU's L2.
#define BENCH_MODELS                          \
    BENCH_MODEL(L12_D768, bf16, compressed)   \
    BENCH_MODEL(L12_D768, bf16, expanded)     \
    BENCH_MODEL(L12_D768, int8, compressed)   \
    BENCH_MODEL(L12_D768, int8, expanded)     \
    BENCH_MODEL(L24_D2048, bf16, compressed)  \
    BENCH_MODEL(L24_D2048, bf16, expanded)    \
    BENCH_MODEL(L24_D2048, int8, compressed)  \
    BENCH_MODEL(L24_D2048, int8, expanded)

#define BENCH_MODEL(C, Weight, Cache) extern template class goldfinch::model<bench::C, goldfinch::cuda<goldfinch::Weight>, bench::Cache>;
BENCH_MODELS
#undef BENCH_MODEL
