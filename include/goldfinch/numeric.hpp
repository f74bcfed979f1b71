// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstdint>

#include <goldfinch/compiler.hpp>

namespace goldfinch {

/// bfloat16: the upper half of a float. Rounds to nearest even; NaN stays NaN.
struct bf16 {
    std::uint16_t bits = 0;

    bf16() = default;
    GOLDFINCH_INLINE constexpr explicit bf16(float value) {
        std::uint32_t const u = detail::bits_as<std::uint32_t>(value);
        bool const nan = (u & 0x7fffffffu) > 0x7f800000u;
        bits = static_cast<std::uint16_t>(nan ? (u >> 16) | 0x40u : (u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
    }
    GOLDFINCH_INLINE constexpr explicit bf16(double value) : bf16(static_cast<float>(value)) {}
    GOLDFINCH_INLINE constexpr operator float() const { return detail::bits_as<float>(std::uint32_t{bits} << 16); }
};

/// IEEE binary16. Rounds to nearest even; overflow becomes infinity, NaN stays NaN.
struct half {
    std::uint16_t bits = 0;

    half() = default;
    GOLDFINCH_INLINE constexpr explicit half(float value) {
        std::uint32_t const u = detail::bits_as<std::uint32_t>(value);
        std::uint32_t const sign = (u >> 16) & 0x8000u, magnitude = u & 0x7fffffffu;
        std::uint32_t h;
        if (magnitude > 0x7f800000u) {
            h = 0x7e00u;
        } else if (magnitude >= 0x477ff000u) {  // 65520 and more round to infinity
            h = 0x7c00u;
        } else if (magnitude >= 0x38800000u) {  // normal: rebias the exponent by 112 and round 13 bits away
            h = (magnitude - 0x38000000u + 0x0fffu + ((magnitude >> 13) & 1u)) >> 13;
        } else {  // subnormal: adding 0.5 aligns the mantissa and rounds in hardware
            h = detail::bits_as<std::uint32_t>(detail::bits_as<float>(magnitude) + 0.5f) - 0x3f000000u;
        }
        bits = static_cast<std::uint16_t>(sign | h);
    }
    GOLDFINCH_INLINE constexpr explicit half(double value) : half(static_cast<float>(value)) {}
    GOLDFINCH_INLINE constexpr operator float() const {
        std::uint32_t const sign = (bits & 0x8000u) * 0x10000u, exponent = (bits >> 10) & 0x1fu, mantissa = bits & 0x3ffu;
        if (exponent == 31) return detail::bits_as<float>(sign | 0x7f800000u | mantissa << 13);
        if (exponent != 0) return detail::bits_as<float>(sign | (exponent + 112u) << 23 | mantissa << 13);
        float const magnitude = static_cast<float>(mantissa) * 0x1p-24f;
        return sign != 0 ? -magnitude : magnitude;
    }
};

namespace detail {

/// Neither infinite nor NaN. Told from the bits, since under -ffast-math compilers take std::isfinite to be true.
constexpr bool is_finite(float x) { return (std::bit_cast<std::uint32_t>(x) & 0x7f800000u) != 0x7f800000u; }
constexpr bool is_finite(double x) { return (std::bit_cast<std::uint64_t>(x) & 0x7ff0000000000000u) != 0x7ff0000000000000u; }

}  // namespace detail

/// Eight-bit values; where they stand for reals, a scale goes with them.
using int8 = std::int8_t;

}  // namespace goldfinch
