// SPDX-License-Identifier: Apache-2.0
// expect: goldfinch: n_embd must be a multiple of kv_cache_compression_ratio
#include <goldfinch/goldfinch.hpp>

namespace gf = goldfinch;

inline constexpr gf::config wrong = {.vocab_size = 256, .n_layer = 6, .n_embd = 64, .head_size = 16, .kv_cache_compression_ratio = 24};
gf::token_cat<wrong> cat;
