// SPDX-License-Identifier: Apache-2.0
// expect: goldfinch: the third argument of model is a cache type: compressed_keys<Value>, full_keys<Value> or expanded_kv<Value>
#include <goldfinch/goldfinch.hpp>

namespace gf = goldfinch;

inline constexpr gf::config tiny = gf::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 64, .head_size = 16});

auto const lm = gf::model<tiny, gf::simd<float>, gf::bf16>::random(1);
