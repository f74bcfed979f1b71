// SPDX-License-Identifier: Apache-2.0
// expect: goldfinch: n_gold must be between 0 and n_layer
#include <goldfinch/goldfinch.hpp>

namespace gf = goldfinch;

inline constexpr gf::config wrong = {.vocab_size = 256, .n_layer = 6, .n_gold = 7, .n_embd = 64, .head_size = 16};
gf::goldfinch_stack<wrong> blocks;
