// SPDX-License-Identifier: Apache-2.0
// expect: goldfinch: a GOLD block needs token_cat below it
#include <goldfinch/goldfinch.hpp>

namespace gf = goldfinch;

inline constexpr gf::config tiny = gf::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 64, .head_size = 16});

using recurrent = gf::block<gf::finch_c2<tiny>, gf::channel_mix<tiny>>;
using attending = gf::block<gf::gold<tiny>, gf::channel_mix<tiny>>;
gf::stack<recurrent, attending, gf::token_cat<tiny>, attending> blocks;
