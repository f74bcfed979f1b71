// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <goldfinch/numeric.hpp>
#include <goldfinch/weight/quantized.hpp>

namespace goldfinch {

/// Weights of products as integers of 8 bits with a bf16 scale for every 64 of a row, 1.03 bytes each; all others as bf16:
/// goldfinch::simd<goldfinch::int8>, goldfinch::cuda<goldfinch::int8>.
template <>
inline constexpr std::size_t detail::packed_bits<int8> = 8;

template <>
struct detail::weight_type_at<3> {
    using type = detail::packed_integers<8>;
};

}  // namespace goldfinch
