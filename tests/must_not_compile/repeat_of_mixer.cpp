// SPDX-License-Identifier: Apache-2.0
// expect: goldfinch: repeat<Block, n> takes a block, such as block<gold<C>, channel_mix<C>>
#include <goldfinch/goldfinch.hpp>

namespace gf = goldfinch;

inline constexpr gf::config tiny = gf::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 64, .head_size = 16});

gf::stack<gf::repeat<gf::finch_c2<tiny>, 6>> blocks;
