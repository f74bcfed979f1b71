// SPDX-License-Identifier: Apache-2.0
// expect: goldfinch: dim_att must equal n_embd
#include <goldfinch/goldfinch.hpp>

namespace gf = goldfinch;

inline constexpr gf::config wrong = {.vocab_size = 256, .n_layer = 6, .n_embd = 64, .head_size = 16, .dim_att = 32};
gf::finch_c2<wrong> mix;
