// SPDX-License-Identifier: Apache-2.0
// expect: goldfinch: above token_cat there can only be blocks that attend to its keys, such as gold
#include <goldfinch/goldfinch.hpp>

namespace gf = goldfinch;

inline constexpr gf::config tiny = gf::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 64, .head_size = 16});

using recurrent = gf::block<gf::finch_c2<tiny>, gf::channel_mix<tiny>>;
using attending = gf::block<gf::gold<tiny>, gf::channel_mix<tiny>>;
gf::stack<recurrent, gf::token_cat<tiny>, attending, recurrent> blocks;
