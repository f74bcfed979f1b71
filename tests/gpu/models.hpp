// SPDX-License-Identifier: Apache-2.0
// Models that models.cu compiles for GPUs and test_gpu.cpp calls.
#pragma once

#include <goldfinch/cuda.hpp>

#include "../../examples/mixers/hgrn2.hpp"
#include "../../examples/mixers/rg_lru.hpp"

namespace gf = goldfinch;  // before the README's mixer, which is written as in a program
#include "readme_mixer.hpp"

namespace gpu {

inline constexpr gf::config tiny = gf::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 64, .head_size = 16});
inline constexpr gf::config rope = gf::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 32, .head_size = 32, .rope_base = 10000});
/// Heads and widths as in the released models, and few blocks.
inline constexpr gf::config wide = gf::checked({.vocab_size = 512, .n_layer = 3, .n_embd = 768, .head_size = 64});

// Stacks by name, as nvcc needs them in an explicit instantiation.
struct finch : gf::finch_stack<tiny> {};
struct gptalpha : gf::gptalpha_stack<rope> {};
template <gf::config C, class Mixer>
using below_gold = gf::stack<gf::repeat<gf::block<Mixer, gf::channel_mix<C>>, 4>, gf::token_cat<C>, gf::repeat<gf::block<gf::gold<C>, gf::channel_mix<C>>, 2>>;
struct hgrn2 : below_gold<tiny, mixers::hgrn2<tiny>> {};
struct rg_lru : below_gold<tiny, mixers::rg_lru<tiny>> {};
struct readme : below_gold<tiny, my_mixer<tiny>> {};

}  // namespace gpu

// GPU_MODEL(C, Weight, Cache, Stack...) of each.
#define GPU_MODELS                                                                                  \
    GPU_MODEL(gpu::tiny, float, goldfinch::compressed_keys<float>)                                  \
    GPU_MODEL(gpu::tiny, float, goldfinch::expanded_kv<float>)                                      \
    GPU_MODEL(gpu::tiny, float, goldfinch::full_keys<goldfinch::bf16>)                              \
    GPU_MODEL(gpu::rope, float, goldfinch::compressed_keys<float>)                                  \
    GPU_MODEL(gpu::rope, float, goldfinch::compressed_keys<float>, gpu::gptalpha)                   \
    GPU_MODEL(gpu::tiny, float, goldfinch::compressed_keys<float>, gpu::finch)                      \
    GPU_MODEL(gpu::tiny, float, goldfinch::compressed_keys<float>, gpu::hgrn2)                      \
    GPU_MODEL(gpu::tiny, float, goldfinch::compressed_keys<float>, gpu::rg_lru)                     \
    GPU_MODEL(gpu::tiny, float, goldfinch::compressed_keys<float>, gpu::readme)                     \
    GPU_MODEL(gpu::wide, goldfinch::bf16, goldfinch::compressed_keys<goldfinch::bf16>)              \
    GPU_MODEL(gpu::wide, goldfinch::half, goldfinch::expanded_kv<goldfinch::bf16>)                  \
    GPU_MODEL(gpu::wide, goldfinch::int8, goldfinch::compressed_keys<goldfinch::int8>)              \
    GPU_MODEL(gpu::wide, goldfinch::int4, goldfinch::expanded_kv<goldfinch::int8>)

#define GPU_MODEL(C, Weight, ...) extern template class goldfinch::model<C, goldfinch::cuda<Weight>, __VA_ARGS__>;
GPU_MODELS
#undef GPU_MODEL
