// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <goldfinch/backend/simd/kernels/loops.hpp>

namespace goldfinch {
inline namespace GOLDFINCH_TARGET {
namespace kernel {

/// f(from, to) on blocks of constant length, which compilers turn into vector code; the last one is made up with zeros.
template <std::size_t block, class T, class F>
GOLDFINCH_INLINE void by_blocks(float const* x, T* y, std::size_t n, F const& f) {
    std::size_t i = 0;
    for (; i + block <= n; i += block) f(x + i, y + i);
    if (i == n) return;
    float from[block] = {};
    T to[block];
    copy(x + i, n - i, from);
    f(from, to);
    copy(to, n - i, y + i);
}

/// The bits of the largest magnitude in a row: those of floats without their sign are ordered as the floats are, with infinity and NaN
/// above all.
inline std::uint32_t largest_magnitude(float const* x, std::size_t n) {
    constexpr std::size_t block = 64;
    std::uint32_t most[block] = {};
    auto const magnitude = [](float z) GOLDFINCH_LAMBDA_INLINE { return detail::bits_as<std::uint32_t>(z) & 0x7fffffffu; };
    std::size_t i = 0;
    for (; i + block <= n; i += block)
        for (std::size_t j = 0; j < block; ++j) {
            // As signed numbers, which compare in one instruction everywhere.
            auto const z = static_cast<std::int32_t>(magnitude(x[i + j])), m = static_cast<std::int32_t>(most[j]);
            most[j] = static_cast<std::uint32_t>(z > m ? z : m);
        }
    for (; i < n; ++i) most[0] = magnitude(x[i]) > most[0] ? magnitude(x[i]) : most[0];
    std::uint32_t result = 0;
    for (std::uint32_t const m : most) result = m > result ? m : result;
    return result;
}

/// A row in eight bits; returns the scale. A row with infinity or NaN in it gets a scale of NaN, so that it shows. All of it holds with
/// -ffast-math, too: hence the bits, and the numbers of which compilers know nothing.
inline float quantize(float const* x, int8* y, std::size_t n) {
    constexpr std::uint32_t infinity = 0x7f800000, nan = 0x7fc00000, least_normal = 0x00800000;
    std::uint32_t const largest = largest_magnitude(x, n);
    if (largest >= infinity) {
        for (std::size_t i = 0; i < n; ++i) y[i] = 0;
        return detail::bits_as<float>(nan);
    }
    float volatile divisor = 127;
    float const volatile scale = detail::bits_as<float>(largest) / divisor;
    float const quotient = scale;
    float const inverse = detail::bits_as<std::uint32_t>(quotient) >= least_normal ? 1 / quotient : 0;
    by_blocks<lanes>(x, y, n, [inverse](float const* from, int8* to) GOLDFINCH_LAMBDA_INLINE { store_rounded(to, load(from), inverse); });
    return quotient;
}

/// Rows as a cache keeps them. Integers carry a scale a row: value = integer * scale, scale = largest magnitude / 127.
template <class Value>
void pack(cpu_executor const& at, rows<float const> x, rows<Value> y, float* scales) {
    each_row(at, x.size, x.width, [&](std::size_t t) {
        if constexpr (std::is_same_v<Value, float>) {
            copy(x[t], x.width, y[t]);
        } else if constexpr (std::is_integral_v<Value>) {
            scales[t] = quantize(x[t], y[t], x.width);
        } else {
            constexpr std::size_t block = 32;
            by_blocks<block>(x[t], y[t], x.width, [](float const* from, Value* to) GOLDFINCH_LAMBDA_INLINE {
                for (std::size_t j = 0; j < block; ++j) to[j] = static_cast<Value>(from[j]);
            });
        }
    });
}

/// The inverse of pack.
template <class Value>
void unpack(cpu_executor const& at, rows<Value const> x, float const* scales, rows<float> y) {
    each_row(at, x.size, x.width, [&](std::size_t t) {
        if constexpr (std::is_integral_v<Value>) {
            vec const scale = broadcast(scales[t]);
            Value const* const from = x[t];
            float* const to = y[t];
            each_vector(x.width, [&](std::size_t i, std::size_t count) { store(to + i, load(from + i, count) * scale, count); });
        } else {
            widen_row(x[t], y[t], x.width);
        }
    });
}

}  // namespace kernel
}  // namespace GOLDFINCH_TARGET
}  // namespace goldfinch
