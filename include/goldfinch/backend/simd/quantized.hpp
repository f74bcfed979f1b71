// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <goldfinch/backend/simd/table.hpp>
#include <goldfinch/numeric.hpp>
#include <goldfinch/weight/quantized.hpp>

// Products with quantised weights in the SIMD backend, for any number of bits.

namespace goldfinch::detail {

template <class Weight>
struct simd_format;

/// Names integers of Bits bits in a table of kernels.
template <std::size_t Bits>
struct packed_integers {};

/// What their kernel gets: rows of words and rows of scales.
struct packed_rows {
    std::byte const *packed, *scale;
};

template <std::size_t Bits>
struct weight_kernels<packed_integers<Bits>> {
    void (*linear)(cpu_executor const&, packed_rows w, rows<float const> x, rows<float> y);
};

/// simd<Weight>'s parameters, where Weight is integers of Bits bits.
template <std::size_t Bits>
struct quantized_simd_format {
    using plain = bf16;
    template <std::size_t Out, std::size_t In>
    using view = quantized_matrix<Bits, Out, In>;
};

}  // namespace goldfinch::detail
