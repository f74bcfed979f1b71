// SPDX-License-Identifier: Apache-2.0
// expect: goldfinch: a block takes a time mix and a channel mix, such as gold<C> and channel_mix<C>, each with a static width
#include <goldfinch/goldfinch.hpp>

namespace gf = goldfinch;

inline constexpr gf::config tiny = gf::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 64, .head_size = 16});

gf::block<gf::finch_c2<tiny>, float> b;
