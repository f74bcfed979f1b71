// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <goldfinch/cuda.hpp>

inline constexpr goldfinch::config tiny = goldfinch::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 64, .head_size = 16});
extern template class goldfinch::model<tiny, goldfinch::cuda<goldfinch::bf16>>;
