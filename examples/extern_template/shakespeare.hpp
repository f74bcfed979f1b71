// SPDX-License-Identifier: Apache-2.0
// A model that one source file compiles for the whole program: whoever includes this only calls it.
#pragma once

#include <goldfinch/goldfinch.hpp>

inline constexpr goldfinch::config shakespeare_config = goldfinch::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 128, .head_size = 32});
using shakespeare = goldfinch::model<shakespeare_config>;

// The names in full, since an alias cannot stand here.
extern template class goldfinch::model<shakespeare_config>;
extern template class goldfinch::session<shakespeare>;
