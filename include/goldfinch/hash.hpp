// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

namespace goldfinch::detail {

/// A number that changes with every input bit: of a counter, a stream of random numbers; of data, a fingerprint.
/// Source: Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, 2014 (SplitMix64).
constexpr std::uint64_t scramble(std::uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/// Of text.
constexpr std::uint64_t hash(std::string_view text, std::uint64_t seed = 0) {
    for (char const c : text) seed = scramble(seed ^ static_cast<unsigned char>(c));
    return seed;
}

/// 53 random bits as a number in [0, 1).
constexpr double unit_interval(std::uint64_t bits) { return static_cast<double>(bits >> 11) * 0x1p-53; }

}  // namespace goldfinch::detail
