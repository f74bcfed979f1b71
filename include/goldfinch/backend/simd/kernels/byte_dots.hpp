// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include <goldfinch/backend/simd/kernels/dotprod.hpp>
#include <goldfinch/backend/simd/kernels/vec.hpp>
#include <goldfinch/backend/simd/kernels/vnni.hpp>

// The instructions for bytes that products of rows of inputs are written over (sparse_integers.hpp), where there are any.

namespace goldfinch {
inline namespace GOLDFINCH_TARGET {
namespace kernel {

#if GOLDFINCH_AVX512_VNNI

/// Vectors of bytes, and how four of them make products of four columns in a lane. Weights are without sign: `zero` stands for 0.
struct byte_dots {
    using bytes = __m512i;
    using sums = __m512i;
    static constexpr std::size_t width = 64;
    template <std::size_t Bits>
    static constexpr int zero = 1 << (Bits - 1);
    template <std::size_t Bits>
    static constexpr float unit = 1;

    GOLDFINCH_INLINE static bytes load(std::byte const* p, std::size_t n) {
        return n >= width ? in_register(_mm512_loadu_si512(p)) : _mm512_maskz_loadu_epi8((std::uint64_t{1} << n) - 1, p);
    }
    /// The i-th of four: bytes 4 i to 4 i + 3 of each quarter of all rows, those of one place side by side.
    GOLDFINCH_INLINE static void interleave(bytes const (&row)[4], bytes (&to)[4]) {
        bytes const low[2] = {_mm512_unpacklo_epi8(row[0], row[1]), _mm512_unpacklo_epi8(row[2], row[3])};
        bytes const high[2] = {_mm512_unpackhi_epi8(row[0], row[1]), _mm512_unpackhi_epi8(row[2], row[3])};
        to[0] = _mm512_unpacklo_epi16(low[0], low[1]), to[1] = _mm512_unpackhi_epi16(low[0], low[1]);
        to[2] = _mm512_unpacklo_epi16(high[0], high[1]), to[3] = _mm512_unpackhi_epi16(high[0], high[1]);
    }
    /// Where in a vector of rows the byte of a lane of the i-th is.
    static constexpr std::size_t place(std::size_t i, std::size_t lane) { return lane / 4 * 16 + 4 * i + lane % 4; }
    template <std::size_t Bits>
    GOLDFINCH_INLINE static bytes integers_of(bytes x, std::size_t part) {
        if constexpr (Bits == 8) return x;
        return _mm512_and_si512(part == 0 ? x : _mm512_srli_epi16(x, 4), _mm512_set1_epi8(0x0f));
    }
    GOLDFINCH_INLINE static sums nothing() { return _mm512_setzero_si512(); }
    GOLDFINCH_INLINE static sums add(sums s, bytes w, std::int32_t const* x) { return _mm512_dpbusd_epi32(s, w, _mm512_set1_epi32(*x)); }
    GOLDFINCH_INLINE static vec total(sums high, sums low, std::int32_t offset) {
        return vec(_mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_add_epi32(_mm512_slli_epi32(high, 8), low), _mm512_set1_epi32(offset))));
    }
    /// The scales of a vector of bytes' outputs, of which n are at p, in the order of lanes.
    template <std::size_t Bits>
    GOLDFINCH_INLINE static void load_scales(std::byte const* p, std::size_t n, vec* to) {
        constexpr std::size_t vectors = 16 / Bits;
        __m512i from[vectors];
        GOLDFINCH_UNROLL
        for (std::size_t i = 0; i < vectors; ++i) from[i] = load(p + 64 * i, 2 * n > 64 * i ? 2 * n - 64 * i : 0);
        if constexpr (Bits == 8) {
            // 16-bit words to the upper halves of lanes: word 16 (lane / 4) + lane % 4, and 4 more for each vector.
            __m512i const first = _mm512_setr_epi32(0, 1 << 16, 2 << 16, 3 << 16, 16 << 16, 17 << 16, 18 << 16, 19 << 16, 32 << 16, 33 << 16,
                                                    34 << 16, 35 << 16, 48 << 16, 49 << 16, 50 << 16, 51 << 16);
            GOLDFINCH_UNROLL
            for (int i = 0; i < 4; ++i)
                to[i] = vec(_mm512_castsi512_ps(_mm512_maskz_permutex2var_epi16(
                    0xaaaaaaaau, from[0], _mm512_add_epi32(first, _mm512_set1_epi32(4 * i << 16)), from[vectors - 1])));
        } else {  // lanes are pairs of outputs; the i-th quarters of all
            __m512i const a = _mm512_shuffle_i32x4(from[0], from[1], 0x44), b = _mm512_shuffle_i32x4(from[0], from[1], 0xee);
            __m512i const c = _mm512_shuffle_i32x4(from[vectors - 2], from[vectors - 1], 0x44),
                          d = _mm512_shuffle_i32x4(from[vectors - 2], from[vectors - 1], 0xee);
            __m512i const quarters[4] = {_mm512_shuffle_i32x4(a, c, 0x88), _mm512_shuffle_i32x4(a, c, 0xdd), _mm512_shuffle_i32x4(b, d, 0x88),
                                         _mm512_shuffle_i32x4(b, d, 0xdd)};
            GOLDFINCH_UNROLL
            for (std::size_t i = 0; i < 4; ++i) {
                to[2 * i] = vec(_mm512_castsi512_ps(_mm512_slli_epi32(quarters[i], 16)));
                to[2 * i + 1] = vec(_mm512_castsi512_ps(_mm512_and_si512(quarters[i], _mm512_set1_epi32(-65536))));
            }
        }
    }
    static float round(float const* x, std::size_t n, std::int8_t* high, std::int8_t* low) { return round_block(x, n, high, low); }
};

#elif GOLDFINCH_NEON_DOTPROD

/// Vectors of bytes, and how four of them make products of four columns in a lane. Weights have their sign; 4-bit ones are in the highest bits of
/// their bytes.
struct byte_dots {
    using bytes = int8x16_t;
    using sums = int32x4_t;
    static constexpr std::size_t width = 16;
    template <std::size_t Bits>
    static constexpr int zero = 0;
    template <std::size_t Bits>
    static constexpr float unit = signed_unit<Bits>;

    GOLDFINCH_INLINE static bytes load(std::byte const* p, std::size_t n) {
        if (n >= width) return load_bytes(p);
        std::byte filled[width] = {};
        copy(p, n, filled);
        return load_bytes(filled);
    }
    /// The i-th of four: bytes 4 i to 4 i + 3 of all rows, those of one place side by side.
    GOLDFINCH_INLINE static void interleave(bytes const (&row)[4], bytes (&to)[4]) { interleave_rows(row, to); }
    /// Where in a vector of rows the byte of a lane of the i-th is.
    static constexpr std::size_t place(std::size_t i, std::size_t lane) { return 4 * i + lane; }
    template <std::size_t Bits>
    GOLDFINCH_INLINE static bytes integers_of(bytes x, std::size_t part) {
        bytes const with_sign = veorq_s8(x, vdupq_n_s8(Bits == 8 ? -128 : -120));
        if constexpr (Bits == 8) return with_sign;
        return part == 0 ? vshlq_n_s8(with_sign, 4) : vandq_s8(with_sign, vdupq_n_s8(-16));
    }
    GOLDFINCH_INLINE static sums nothing() { return vdupq_n_s32(0); }
    GOLDFINCH_INLINE static sums add(sums s, bytes w, std::int32_t const* x) { return vdotq_s32(s, w, vreinterpretq_s8_s32(vdupq_n_s32(*x))); }
    GOLDFINCH_INLINE static vec total(sums high, sums low, std::int32_t) { return vec(vcvtq_f32_s32(vaddq_s32(vshlq_n_s32(high, 8), low))); }
    /// The scales of a vector of bytes' outputs, of which n are at p, in the order of lanes.
    template <std::size_t Bits>
    GOLDFINCH_INLINE static void load_scales(std::byte const* p, std::size_t n, vec* to) {
        constexpr std::size_t outputs = width * 8 / Bits;
        std::uint16_t words[outputs] = {};
        __builtin_memcpy(words, p, 2 * min(n, outputs));
        GOLDFINCH_UNROLL
        for (std::size_t i = 0; i < outputs; i += 8) {
            uint16x8_t const eight = vld1q_u16(words + i);
            if constexpr (Bits == 8) {
                to[i / 4] = vec(vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(eight), 16)));
                to[i / 4 + 1] = vec(vreinterpretq_f32_u32(vshll_n_u16(vget_high_u16(eight), 16)));
            } else {
                uint32x4_t const pairs = vreinterpretq_u32_u16(eight);
                to[i / 4] = vec(vreinterpretq_f32_u32(vshlq_n_u32(pairs, 16)));
                to[i / 4 + 1] = vec(vreinterpretq_f32_u32(vandq_u32(pairs, vdupq_n_u32(0xffff0000u))));
            }
        }
    }
    static float round(float const* x, std::size_t n, std::int8_t* high, std::int8_t* low) {
        rounded_block rounded;
        round_block<false>(x, n, rounded);
        copy(rounded.high, rounded_block::columns, high), copy(rounded.low, rounded_block::columns, low);
        return rounded.scale;
    }
};

#endif

}  // namespace kernel
}  // namespace GOLDFINCH_TARGET
}  // namespace goldfinch
