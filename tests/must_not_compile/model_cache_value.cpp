// SPDX-License-Identifier: Apache-2.0
// expect: goldfinch: compressed_keys<Value> takes float, goldfinch::bf16 or goldfinch::int8
#include <goldfinch/goldfinch.hpp>

namespace gf = goldfinch;

inline constexpr gf::config tiny = gf::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 64, .head_size = 16});

auto const lm = gf::model<tiny, gf::simd<float>, gf::compressed_keys<double>>::random(1);
