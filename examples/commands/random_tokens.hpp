// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <goldfinch/config.hpp>

namespace commands {

/// Tokens that follow no pattern.
inline std::vector<goldfinch::token> random_tokens(std::size_t n, int vocab_size) {
    std::uint64_t x = 1;
    std::vector<goldfinch::token> tokens(n);
    for (auto& t : tokens) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        t = static_cast<goldfinch::token>((x >> 33) % static_cast<unsigned>(vocab_size));
    }
    return tokens;
}

}  // namespace commands
