// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <goldfinch/weight/quantized.hpp>

namespace goldfinch {

/// Names integers of 4 bits as a weight format; it holds none.
struct int4 {};

/// Weights of products as integers of 4 bits with a bf16 scale for every 64 of a row, 0.53 bytes each; all others as bf16:
/// goldfinch::simd<goldfinch::int4>, goldfinch::cuda<goldfinch::int4>.
template <>
inline constexpr std::size_t detail::packed_bits<int4> = 4;

template <>
struct detail::weight_type_at<4> {
    using type = detail::packed_integers<4>;
};

}  // namespace goldfinch
