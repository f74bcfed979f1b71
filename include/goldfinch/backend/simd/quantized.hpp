// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <goldfinch/backend/simd/table.hpp>
#include <goldfinch/weight/quantized.hpp>

// Products with quantised weights in the SIMD backend, for any number of bits.

namespace goldfinch::detail {

/// Names integers of Bits bits in a table of kernels.
template <std::size_t Bits>
struct packed_integers {};

/// What their kernels get: planes of integers and of scales, by rows or by inputs.
struct packed_rows {
    std::byte const *packed, *scale;
};

template <std::size_t Bits>
struct weight_kernels<packed_integers<Bits>> {
    void (*linear)(cpu_executor const&, packed_rows w, rows<float const> x, rows<float> y);         // w [y.width, x.width]
    void (*sparse_linear)(cpu_executor const&, packed_rows w, rows<float const> x, rows<float> y);  // stored as its transpose, for x with many zeros
};

}  // namespace goldfinch::detail
