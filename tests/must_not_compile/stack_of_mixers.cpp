// SPDX-License-Identifier: Apache-2.0
// expect: goldfinch: a stack is made of block<...>, repeat<block<...>, n> and at most one token_cat<C>
#include <goldfinch/goldfinch.hpp>

namespace gf = goldfinch;

inline constexpr gf::config tiny = gf::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 64, .head_size = 16});

gf::stack<gf::finch_c2<tiny>, gf::channel_mix<tiny>> blocks;
