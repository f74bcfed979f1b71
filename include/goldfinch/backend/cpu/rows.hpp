// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <goldfinch/compiler.hpp>

// Rows and sums with extents at run time, as kernels take them: they are compiled once, not for every shape.

namespace goldfinch::detail {

/// [size, width]: rows `stride` apart.
template <class T>
struct rows {
    T* data;
    std::size_t size, stride, width;

    GOLDFINCH_INLINE T* operator[](std::size_t t) const { return data + t * stride; }
    GOLDFINCH_INLINE operator rows<T const>() const { return {data, size, stride, width}; }
};

/// One tensor of the state of each of `size` sequences, at base[i] + offset, and the rows that each has in an activation:
/// [first[i], first[i + 1]).
struct state_rows {
    std::size_t size;
    float* const* base;
    std::size_t offset;
    std::size_t const* first;

    GOLDFINCH_INLINE float* operator[](std::size_t i) const { return base[i] + offset; }
};

/// Running softmax attention of some queries: what has been seen of the keys so far. Sums are relative to exp(max).
template <class Scalar>
struct attention_sums {
    rows<Scalar> max;    ///< [queries, heads] largest score
    rows<Scalar> total;  ///< [queries, heads] sum of exp(score - max)
    rows<Scalar> value;  ///< [queries, heads * head_size] sum of exp(score - max) * value
};

}  // namespace goldfinch::detail
