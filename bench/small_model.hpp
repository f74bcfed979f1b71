// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <goldfinch/backend/counting.hpp>
#include <goldfinch/goldfinch.hpp>

// The model that the benchmarks of whole models run: the paper's small shape, L12 D768 V65536, in bf16, with random weights.

namespace gf = goldfinch;

inline constexpr gf::config shape = gf::presets::goldfinch_0b1;

template <class Cache = gf::compressed_keys<>>
using small_model = gf::model<shape, gf::simd<gf::bf16>, Cache>;

/// Tokens that repeat only after very many.
inline std::vector<gf::token> random_tokens(std::size_t n, std::uint64_t seed = 1) {
    std::vector<gf::token> tokens(n);
    for (auto& t : tokens) t = static_cast<gf::token>((seed = seed * 6364136223846793005u + 1442695040888963407u) >> 48);
    return tokens;
}
