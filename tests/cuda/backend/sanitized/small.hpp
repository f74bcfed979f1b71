// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <vector>

#include "../../../golden.hpp"

/// A model that is made in no time, and a text for it.
inline constexpr gf::config C = gf::checked({.vocab_size = 64, .n_layer = 3, .n_gold = 1, .n_embd = 64, .head_size = 16});

inline std::vector<gf::token> text(std::size_t n) {
    std::vector<gf::token> result(n);
    for (std::size_t i = 0; i < n; ++i) result[i] = static_cast<gf::token>((5 + 11 * i + i * i / 3) % C.vocab_size);
    return result;
}
