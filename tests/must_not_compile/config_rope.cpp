// SPDX-License-Identifier: Apache-2.0
// expect: goldfinch: a rotary embedding needs an even head_size
#include <goldfinch/goldfinch.hpp>

namespace gf = goldfinch;

inline constexpr gf::config wrong = {.vocab_size = 256, .n_layer = 6, .n_embd = 96, .head_size = 3, .rope_base = 10000};
gf::gold<wrong> mix;
