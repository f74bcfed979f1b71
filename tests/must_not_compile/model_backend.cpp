// SPDX-License-Identifier: Apache-2.0
// expect: goldfinch: the second argument of model is a backend: goldfinch::simd<Weight> or goldfinch::reference
#include <goldfinch/goldfinch.hpp>

namespace gf = goldfinch;

inline constexpr gf::config tiny = gf::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 64, .head_size = 16});

auto const lm = gf::model<tiny, float>::random(1);
