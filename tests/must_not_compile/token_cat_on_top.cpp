// SPDX-License-Identifier: Apache-2.0
// expect: goldfinch: token_cat needs blocks above it that attend to its keys, such as gold
#include <goldfinch/goldfinch.hpp>

namespace gf = goldfinch;

inline constexpr gf::config tiny = gf::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 64, .head_size = 16});

using recurrent = gf::block<gf::finch_c2<tiny>, gf::channel_mix<tiny>>;
gf::stack<gf::repeat<recurrent, 6>, gf::token_cat<tiny>> blocks;
