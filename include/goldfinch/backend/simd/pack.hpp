// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

#include <goldfinch/backend/simd/rows.hpp>

namespace goldfinch {
inline namespace GOLDFINCH_ISA {
namespace kernel {

/// y = f(x) in blocks of constant length, which compilers turn into vector code.
template <class T, class F>
void convert(float const* x, T* y, std::size_t n, F const& f) {
    constexpr std::size_t block = 32;
    auto const whole = [&f](float const* from, T* to) {
        for (std::size_t j = 0; j < block; ++j) to[j] = f(from[j]);
    };
    std::size_t i = 0;
    for (; i + block <= n; i += block) whole(x + i, y + i);
    if (i == n) return;
    float from[block] = {};
    T to[block];
    std::copy_n(x + i, n - i, from);
    whole(from, to);
    std::copy_n(to, n - i, y + i);
}

/// A row in eight bits; returns the scale. A row with infinity or NaN in it gets a scale of NaN, so that it shows.
inline float quantize(float const* x, int8* y, std::size_t n) {
    batch largest = broadcast(0);
    each_vector(n, [&](std::size_t i, std::size_t count) { largest = xsimd::max(largest, xsimd::abs(load(x + i, count))); });
    alignas(alignment) float each[lanes];
    largest.store_aligned(each);
    float const poison = sum_of(n, [&](std::size_t i, std::size_t count) { return load(x + i, count) * broadcast(0); });
    float const scale = *std::max_element(each, each + lanes) / 127 + poison;
    float const inverse = scale >= std::numeric_limits<float>::min() ? 1 / scale : 0;
    // Adding 1.5 * 2^23 rounds to the nearest integer, ties to even, and leaves it in the low bits.
    convert(x, y, n, [inverse](float z) { return static_cast<int8>(std::bit_cast<std::uint32_t>(z * inverse + 12582912.0f) & 0xff); });
    return scale;
}

template <class Value>
void pack(cpu_executor const& be, rows<float const> x, rows<Value> y, float* scales) {
    each_row(be, x.size, x.width, [&](std::size_t t) {
        if constexpr (std::is_integral_v<Value>) scales[t] = quantize(x[t], y[t], x.width);
        else convert(x[t], y[t], x.width, [](float z) { return static_cast<Value>(z); });
    });
}

template <class Value>
void unpack(cpu_executor const& be, rows<Value const> x, float const* scales, rows<float> y) {
    each_row(be, x.size, x.width, [&](std::size_t t) {
        if constexpr (std::is_integral_v<Value>) {
            batch const scale = broadcast(scales[t]);
            Value const* const from = x[t];
            float* const to = y[t];
            each_vector(x.width, [&](std::size_t i, std::size_t count) { store(to + i, load(from + i, count) * scale, count); });
        } else {
            widen(x[t], y[t], x.width);
        }
    });
}

}  // namespace kernel

/// Rows as a cache keeps them. Integers carry a scale a row: value = integer * scale, scale = largest magnitude / 127.
template <class Weight, class Value, std::size_t D>
void pack(simd<Weight> const& be, as<sequence<float const, D>> x, sequence<Value, D> y, float* scales) {
    kernel::pack<Value>(be, x, y, scales);
}

/// The inverse of pack.
template <class Weight, class Value, std::size_t D>
void unpack(simd<Weight> const& be, sequence<Value, D> x, float const* scales, as<sequence<float, D>> y) {
    kernel::unpack<std::remove_const_t<Value>>(be, x, scales, y);
}

/// Reads results back to the host: y [T, D] = x.
template <class Weight, std::size_t D>
void read(simd<Weight> const&, sequence<float, D> x, float* y) {
    for (std::size_t t = 0; t < x.size; ++t) std::copy_n(x[t], D, y + t * D);
}

}  // namespace GOLDFINCH_ISA
}  // namespace goldfinch
