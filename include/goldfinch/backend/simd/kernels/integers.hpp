// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include <goldfinch/backend/simd/kernels/loops.hpp>
#include <goldfinch/backend/simd/quantized.hpp>

// Packed integers (weight/quantized.hpp) as vectors of float.

namespace goldfinch {
inline namespace GOLDFINCH_TARGET {
namespace kernel {

/// Rows of packed integers, one behind another.
struct packed_matrix {
    detail::packed_rows at;
    std::size_t columns, row_bytes, scale_bytes;

    GOLDFINCH_INLINE std::byte const* packed(std::size_t r) const { return at.packed + r * row_bytes; }
    GOLDFINCH_INLINE std::byte const* scale(std::size_t r) const { return at.scale + r * scale_bytes; }
};

/// The same matrix stored by columns: a row in memory is a column, with one integer for each of `outputs` rows, and scales [blocks, outputs].
struct transposed_packed_matrix {
    detail::packed_rows at;
    std::size_t columns, outputs, row_bytes, scale_bytes;

    GOLDFINCH_INLINE std::byte const* packed(std::size_t k) const { return at.packed + k * row_bytes; }
    GOLDFINCH_INLINE std::byte const* scale(std::size_t block) const { return at.scale + block * scale_bytes; }
    /// The scales of a block for outputs from o on, of which n are there.
    GOLDFINCH_INLINE vec scales(std::size_t block, std::size_t o, std::size_t n) const {
        bf16 of[lanes];
        __builtin_memcpy(static_cast<void*>(of), scale(block) + 2 * o, 2 * min(n, lanes));
        return load(of, n);
    }
};

/// How integers of Bits bits are unpacked in registers, if they are: `columns` of them at once, as vectors which hold every stride-th column from
/// first(i) on; value(p, i) is the i-th of those at p, without its scale; scale(p) has each lane's scale. in_order(p, i) is the i-th
/// vector of columns one after another.
template <std::size_t Bits>
struct integers {
    static constexpr std::size_t columns = 0;
};

#if GOLDFINCH_AVX512

template <>
struct integers<8> {
    static constexpr std::size_t columns = 64, stride = 1;
    static constexpr std::size_t first(std::size_t i) { return i * lanes; }
    GOLDFINCH_INLINE static vec value(std::byte const* p, std::size_t i) {
        __m128i const bytes = _mm_xor_si128(_mm_loadu_si128(reinterpret_cast<__m128i const*>(p) + i), _mm_set1_epi8(-128));
        return vec(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)));
    }
    GOLDFINCH_INLINE static vec in_order(std::byte const* p, std::size_t i) { return value(p, i); }
    GOLDFINCH_INLINE static vec scale(std::byte const* p) {
        std::int16_t bits;
        __builtin_memcpy(&bits, p, sizeof bits);
        return vec(_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_set1_epi16(bits), 16)));
    }
};

template <>
struct integers<4> {
    static constexpr std::size_t columns = 128, stride = 8;  // a vector has one integer of every word
    static constexpr std::size_t first(std::size_t i) { return i; }
    GOLDFINCH_INLINE static vec value(std::byte const* p, std::size_t i) {
        return number(_mm512_srli_epi32(_mm512_loadu_si512(p), static_cast<unsigned>(4 * i)));
    }
    GOLDFINCH_INLINE static vec in_order(std::byte const* p, std::size_t i) {
        __m128i const bytes = _mm_loadl_epi64(reinterpret_cast<__m128i const*>(p + 8 * i));
        __m512i const twice = _mm512_cvtepu8_epi32(_mm_unpacklo_epi8(bytes, bytes));
        return number(_mm512_srlv_epi32(twice, _mm512_set1_epi64(std::int64_t{4} << 32)));
    }
    /// Of the lowest 4 bits of each lane.
    GOLDFINCH_INLINE static vec number(__m512i bits) {
        return vec(_mm512_permutexvar_ps(bits, _mm512_setr_ps(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7)));
    }
    GOLDFINCH_INLINE static vec scale(std::byte const* p) {  // the first half of the words' and the second's
        std::int32_t two;
        __builtin_memcpy(&two, p, sizeof two);
        __m512i const all = _mm512_set1_epi32(two);
        return vec(_mm512_castsi512_ps(_mm512_mask_slli_epi32(_mm512_and_si512(all, _mm512_set1_epi32(-65536)), 0x00ff, all, 16)));
    }
};

#elif GOLDFINCH_AVX2

template <std::size_t Bits>
requires(Bits == 4 || Bits == 8) struct integers<Bits> {
    static constexpr std::size_t columns = 64, stride = Bits == 8 ? 1 : 8;
    static constexpr std::size_t first(std::size_t i) { return Bits == 8 ? i * lanes : i; }
    GOLDFINCH_INLINE static vec value(std::byte const* p, std::size_t i) {
        if constexpr (Bits == 8) {
            __m128i const bytes = _mm_xor_si128(_mm_loadl_epi64(reinterpret_cast<__m128i const*>(p + 8 * i)), _mm_set1_epi8(-128));
            return vec(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)));
        } else {  // to the highest bits, and from there with their sign, which is the other way round
            __m256i const words = _mm256_xor_si256(_mm256_loadu_si256(reinterpret_cast<__m256i const*>(p)), _mm256_set1_epi8(-120));
            return vec(_mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(words, static_cast<int>(28 - 4 * i)), 28)));
        }
    }
    GOLDFINCH_INLINE static vec in_order(std::byte const* p, std::size_t i) {
        if constexpr (Bits == 8) {
            return value(p, i);
        } else {
            std::int32_t eight;
            __builtin_memcpy(&eight, p + 4 * i, sizeof eight);
            __m256i const all = _mm256_xor_si256(_mm256_set1_epi32(eight), _mm256_set1_epi8(-120));
            return vec(_mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_sllv_epi32(all, _mm256_setr_epi32(28, 24, 20, 16, 12, 8, 4, 0)), 28)));
        }
    }
    GOLDFINCH_INLINE static vec scale(std::byte const* p) {
        std::int16_t bits;
        __builtin_memcpy(&bits, p, sizeof bits);
        return vec(_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_set1_epi16(bits), 16)));
    }
};

#elif GOLDFINCH_NEON

/// 16 bytes of memory, whatever it was written as.
GOLDFINCH_INLINE int8x16_t load_bytes(void const* p) {
    int8x16_t bytes;
    __builtin_memcpy(&bytes, p, sizeof bytes);
    return bytes;
}

template <std::size_t Bits>
requires(Bits == 4 || Bits == 8) struct integers<Bits> {
    static constexpr std::size_t columns = 64, stride = Bits == 8 ? 1 : 8;
    static constexpr std::size_t first(std::size_t i) { return Bits == 8 ? i * lanes : i / 8 * 32 + i % 8; }  // 4 bits: one integer of each of 4 words
    GOLDFINCH_INLINE static vec value(std::byte const* p, std::size_t i) {
        if constexpr (Bits == 8) {
            int8x16_t const bytes = veorq_s8(load_bytes(p + i / 4 * 16), vdupq_n_s8(-128));
            int16x8_t const half = vmovl_s8(i % 4 < 2 ? vget_low_s8(bytes) : vget_high_s8(bytes));
            return vec(vcvtq_f32_s32(vmovl_s16(i % 2 == 0 ? vget_low_s16(half) : vget_high_s16(half))));
        } else {  // to the highest bits, and from there with their sign, which is the other way round
            int32x4_t const words = vreinterpretq_s32_s8(veorq_s8(load_bytes(p + i / 8 * 16), vdupq_n_s8(-120)));
            return vec(vcvtq_f32_s32(vshrq_n_s32(words << static_cast<int>(28 - i % 8 * 4), 28)));
        }
    }
    GOLDFINCH_INLINE static vec in_order(std::byte const* p, std::size_t i) {
        std::uint32_t four = 0;
        __builtin_memcpy(&four, p + i * Bits / 2, Bits / 2);
        if constexpr (Bits == 8) {
            int8x8_t const bytes = vcreate_s8(four ^ 0x80808080u);
            return vec(vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(bytes)))));
        } else {
            int32x4_t const to_top = {28, 24, 20, 16};
            return vec(vcvtq_f32_s32(vshrq_n_s32(vshlq_s32(vreinterpretq_s32_u32(vdupq_n_u32(four ^ 0x8888u)), to_top), 28)));
        }
    }
    GOLDFINCH_INLINE static vec scale(std::byte const* p) {
        std::uint16_t bits;
        __builtin_memcpy(&bits, p, sizeof bits);
        return vec(vreinterpretq_f32_u32(vdupq_n_u32(std::uint32_t{bits} << 16)));
    }
};

#endif

/// Whether integers<Bits> unpacks them in registers.
template <std::size_t Bits>
inline constexpr bool in_registers = integers<Bits>::columns > 0;

/// Columns of a row as floats. Writes whole words: up to 32 / Bits - 1 floats behind them.
template <std::size_t Bits>
void dequantize(std::byte const* packed, std::byte const* scale, std::size_t columns, float* y) {
    constexpr std::size_t in_word = 32 / Bits, block = detail::quantized_block;
    constexpr std::uint32_t mask = (1u << Bits) - 1;
    constexpr int zero = 1 << (Bits - 1);
    for (std::size_t first = 0; first < columns; first += block, scale += 2, packed += block * Bits / 8) {
        std::uint16_t bits;
        __builtin_memcpy(&bits, scale, 2);
        float const step = detail::bits_as<float>(std::uint32_t{bits} << 16);
        if constexpr (in_registers<Bits>)
            if (first + block <= columns) {
                for (std::size_t i = 0; i < block; i += lanes) store(y + first + i, integers<Bits>::in_order(packed, i / lanes) * broadcast(step));
                continue;
            }
        for (std::size_t i = first; i < columns && i < first + block; i += in_word) {
            std::uint32_t word;
            __builtin_memcpy(&word, packed + (i - first) / in_word * 4, 4);
            for (std::size_t j = 0; j < in_word; ++j) y[i + j] = static_cast<float>(static_cast<int>(word >> (Bits * j) & mask) - zero) * step;
        }
    }
}

}  // namespace kernel
}  // namespace GOLDFINCH_TARGET
}  // namespace goldfinch
