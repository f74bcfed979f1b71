// SPDX-License-Identifier: Apache-2.0
// expect: goldfinch: the channel mix of a block, its second argument, attends to nothing: it cannot have keys
#include <goldfinch/goldfinch.hpp>

namespace gf = goldfinch;

inline constexpr gf::config tiny = gf::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 64, .head_size = 16});

gf::block<gf::channel_mix<tiny>, gf::gold<tiny>> b;
