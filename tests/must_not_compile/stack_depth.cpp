// SPDX-License-Identifier: Apache-2.0
// expect: goldfinch: the stack must have n_layer blocks
#include <goldfinch/goldfinch.hpp>

namespace gf = goldfinch;

inline constexpr gf::config tiny = gf::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 64, .head_size = 16});

using recurrent = gf::block<gf::finch_c2<tiny>, gf::channel_mix<tiny>>;
using blocks = gf::stack<gf::repeat<recurrent, 5>>;
auto const lm = gf::model<tiny, gf::simd<float>, gf::compressed_keys<>, blocks>::random(1);
