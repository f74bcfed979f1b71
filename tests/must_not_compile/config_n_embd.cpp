// SPDX-License-Identifier: Apache-2.0
// expect: goldfinch: n_embd must be a multiple of 32, at most 1048576
#include <goldfinch/goldfinch.hpp>

namespace gf = goldfinch;

inline constexpr gf::config wrong = {.vocab_size = 256, .n_layer = 6, .n_embd = 72, .head_size = 8};
gf::channel_mix<wrong> mix;
