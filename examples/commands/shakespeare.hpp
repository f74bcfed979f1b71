// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <goldfinch/config.hpp>

namespace commands {

/// The model in examples/models/shakespeare.safetensors.
inline constexpr goldfinch::config shakespeare = goldfinch::checked({.vocab_size = 256, .n_layer = 6, .n_gold = 2, .n_embd = 128, .head_size = 32});

}  // namespace commands
