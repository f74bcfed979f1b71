// SPDX-License-Identifier: Apache-2.0
// expect: goldfinch: all parts of a stack must have the same width
#include <goldfinch/goldfinch.hpp>

namespace gf = goldfinch;

inline constexpr gf::config tiny = gf::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 64, .head_size = 16});
inline constexpr gf::config wide = gf::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 96, .head_size = 16});

template <gf::config C>
using recurrent = gf::block<gf::finch_c2<C>, gf::channel_mix<C>>;
gf::stack<recurrent<tiny>, recurrent<wide>> blocks;
