// SPDX-License-Identifier: Apache-2.0
// A model on a GPU: shakespeare.cu compiles it, whoever includes this only calls it.
#pragma once

#include <goldfinch/cuda.hpp>

inline constexpr goldfinch::config shakespeare_config = goldfinch::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 128, .head_size = 32});
using shakespeare = goldfinch::model<shakespeare_config, goldfinch::cuda<goldfinch::bf16>>;

// The names in full, since an alias cannot stand here.
extern template class goldfinch::model<shakespeare_config, goldfinch::cuda<goldfinch::bf16>>;
