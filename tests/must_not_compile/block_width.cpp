// SPDX-License-Identifier: Apache-2.0
// expect: goldfinch: the time mix and the channel mix of a block must have the same width
#include <goldfinch/goldfinch.hpp>

namespace gf = goldfinch;

inline constexpr gf::config tiny = gf::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 64, .head_size = 16});
inline constexpr gf::config wide = gf::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 96, .head_size = 16});

gf::block<gf::finch_c2<tiny>, gf::channel_mix<wide>> b;
