// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <math.h>

#include <goldfinch/backend/cpu/executor.hpp>
#include <goldfinch/backend/cpu/intrinsics.hpp>
#include <goldfinch/compiled_for.hpp>
#include <goldfinch/backend/simd/table.hpp>
#include <goldfinch/compiler.hpp>
#include <goldfinch/numeric.hpp>

#include <xsimd/xsimd.hpp>

// One vector of float, and all that depends on the instruction set.
//
// A program may hold these headers compiled for several sets. Nothing in them may leave a function behind whose name does not tell its
// set, since the linker would keep one copy for all: no algorithms of std, no functions of other headers but those that are always
// inlined. tests/dispatch checks it.

namespace goldfinch {
inline namespace GOLDFINCH_TARGET {
namespace kernel {

using detail::rows;

#if GOLDFINCH_AVX512
using vec = xsimd::batch<float, xsimd::avx512bw>;
#elif GOLDFINCH_AVX2
using vec = xsimd::batch<float, xsimd::fma3<xsimd::avx2>>;
#elif GOLDFINCH_SSE2
using vec = xsimd::batch<float, xsimd::sse2>;
#elif GOLDFINCH_NEON
using vec = xsimd::batch<float, xsimd::neon64>;
#else
using vec = xsimd::batch<float, xsimd::default_arch>;
#endif
inline constexpr std::size_t lanes = vec::size;

/// Whether there are 32 vector registers, not 16.
inline constexpr bool many_registers = GOLDFINCH_AVX512 || GOLDFINCH_NEON;

/// What weights are stored as, where elements are numbers by themselves.
template <class T>
concept element = std::is_same_v<T, float> || std::is_same_v<T, half> || std::is_same_v<T, bf16>;

// One vector of float from storage of any type, at any alignment.
GOLDFINCH_INLINE vec load(float const* p) { return vec::load_unaligned(p); }
GOLDFINCH_INLINE void store(float* p, vec x) { x.store_unaligned(p); }
GOLDFINCH_INLINE vec broadcast(float x) { return vec(x); }

/// Portable form of the loads below.
template <class T>
GOLDFINCH_INLINE vec load_portable(T const* p) {
    alignas(alignment) float wide[lanes];
    for (std::size_t i = 0; i < lanes; ++i) wide[i] = static_cast<float>(p[i]);
    return vec::load_aligned(wide);
}
template <class T>
requires(!std::is_same_v<T, float>) GOLDFINCH_INLINE vec load(T const* p) {
#if GOLDFINCH_AVX512
    if constexpr (std::is_same_v<T, bf16>)
        return vec(_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<__m256i const*>(p))), 16)));
    else if constexpr (std::is_same_v<T, half>)
        return vec(_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<__m256i const*>(p))));
    else if constexpr (std::is_same_v<T, int8>)
        return vec(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<__m128i const*>(p)))));
    else
        return load_portable(p);
#elif GOLDFINCH_AVX2
    if constexpr (std::is_same_v<T, bf16>)
        return vec(_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<__m128i const*>(p))), 16)));
    else if constexpr (std::is_same_v<T, half>)
        return vec(_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<__m128i const*>(p))));
    else if constexpr (std::is_same_v<T, int8>)
        return vec(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<__m128i const*>(p)))));
    else
        return load_portable(p);
#elif GOLDFINCH_SSE2
    if constexpr (std::is_same_v<T, bf16>) {
        return vec(_mm_castsi128_ps(_mm_unpacklo_epi16(_mm_setzero_si128(), _mm_loadl_epi64(reinterpret_cast<__m128i const*>(p)))));
    } else if constexpr (std::is_same_v<T, int8>) {
        int bytes;
        __builtin_memcpy(&bytes, p, sizeof bytes);
        __m128i const high = _mm_unpacklo_epi8(_mm_setzero_si128(), _mm_cvtsi32_si128(bytes));
        return vec(_mm_cvtepi32_ps(_mm_srai_epi32(_mm_unpacklo_epi16(_mm_setzero_si128(), high), 24)));
    } else {
        return load_portable(p);
    }
#elif GOLDFINCH_NEON
    if constexpr (std::is_same_v<T, bf16> || std::is_same_v<T, half>) {
        uint16x4_t bits;
        __builtin_memcpy(&bits, p, sizeof bits);
        if constexpr (std::is_same_v<T, bf16>) return vec(vreinterpretq_f32_u32(vshll_n_u16(bits, 16)));
        else return vec(vcvt_f32_f16(vreinterpret_f16_u16(bits)));
    } else if constexpr (std::is_same_v<T, int8>) {
        std::int32_t bytes;
        __builtin_memcpy(&bytes, p, sizeof bytes);
        return vec(vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(bytes)))))));
    } else {
        return load_portable(p);
    }
#else
    return load_portable(p);
#endif
}

/// Whether the halves of a pair of vectors are its even elements and its odd ones: of bf16 each is an instruction.
template <class T>
inline constexpr bool splits_pairs = (GOLDFINCH_AVX512 || GOLDFINCH_AVX2) && std::is_same_v<T, bf16>;

/// Half of the 2 * lanes elements at p, the first or the second.
template <std::size_t half, class T>
GOLDFINCH_INLINE vec load_half(T const* p) {
#if GOLDFINCH_AVX512
    if constexpr (splits_pairs<T>) {
        __m512i const words = _mm512_loadu_si512(p), odd = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
        return vec(_mm512_castsi512_ps(half == 0 ? _mm512_slli_epi32(words, 16) : _mm512_and_si512(words, odd)));
    }
#elif GOLDFINCH_AVX2
    if constexpr (splits_pairs<T>) {
        __m256i const words = _mm256_loadu_si256(reinterpret_cast<__m256i const*>(p)), odd = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
        return vec(_mm256_castsi256_ps(half == 0 ? _mm256_slli_epi32(words, 16) : _mm256_and_si256(words, odd)));
    }
#endif
    return load(p + half * lanes);
}

// Parts of a vector where there are no masks for them. They are the ends of rows: not worth their code in every loop.
template <class T>
GOLDFINCH_COLD vec load_part(T const* p, std::size_t n) {
    alignas(alignment) float wide[lanes] = {};
    for (std::size_t i = 0; i < n; ++i) wide[i] = static_cast<float>(p[i]);
    return vec::load_aligned(wide);
}
GOLDFINCH_COLD inline void store_part(float* p, vec x, std::size_t n) {
    alignas(alignment) float wide[lanes];
    x.store_aligned(wide);
    for (std::size_t i = 0; i < n; ++i) p[i] = wide[i];
}

/// The first n lanes from storage, zeros behind. Reads nothing behind them.
template <class T>
GOLDFINCH_INLINE vec load(T const* p, std::size_t n) {
    if (n >= lanes) return load(p);
#if GOLDFINCH_AVX512
    if constexpr (std::is_same_v<T, float>) {
        return vec(_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1u), p));
    } else if constexpr (std::is_same_v<T, bf16>) {
        auto const bits = _mm256_maskz_loadu_epi16(static_cast<__mmask16>((1u << n) - 1u), p);
        return vec(_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16)));
    }
#endif
    return load_part(p, n);
}
GOLDFINCH_INLINE void store(float* p, vec x, std::size_t n) {
    if (n >= lanes) return store(p, x);
#if GOLDFINCH_AVX512
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1u), x);
#else
    store_part(p, x, n);
#endif
}

/// The sum of the lanes: the halves are added until one lane is left.
GOLDFINCH_INLINE float sum(vec x) {
#if GOLDFINCH_AVX512
    return _mm512_reduce_add_ps(x);
#elif GOLDFINCH_SSE2
#if GOLDFINCH_AVX2
    __m128 const four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
#else
    __m128 const four = x;
#endif
    __m128 const two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
#elif GOLDFINCH_NEON
    float32x2_t const two = vadd_f32(vget_low_f32(x), vget_high_f32(x));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
#else
    alignas(alignment) float each[lanes];
    x.store_aligned(each);
    for (std::size_t half = lanes / 2; half > 0; half /= 2)
        for (std::size_t i = 0; i < half; ++i) each[i] += each[i + half];
    return each[0];
#endif
}

GOLDFINCH_INLINE float largest(vec x) {
    alignas(alignment) float each[lanes];
    x.store_aligned(each);
    float result = each[0];
    for (std::size_t i = 1; i < lanes; ++i) result = each[i] > result ? each[i] : result;
    return result;
}

/// x * y + z; one instruction where there is one (xsimd 8 has none for AVX-512).
GOLDFINCH_INLINE vec multiply_add(vec x, vec y, vec z) {
#if GOLDFINCH_AVX512
    return vec(_mm512_fmadd_ps(x, y, z));
#else
    return xsimd::fma(x, y, z);
#endif
}

/// x, of which compilers know nothing: even with -ffast-math they calculate with it in the order written.
GOLDFINCH_INLINE vec as_written(vec x) {
#if (defined(__GNUC__) || defined(__clang__)) && GOLDFINCH_SSE2
    asm("" : "+v"(x.data));
#elif (defined(__GNUC__) || defined(__clang__)) && GOLDFINCH_NEON
    asm("" : "+w"(x.data));
#endif
    return x;
}

/// to = x rounded to the nearest integer, ties to even, for |x * scale| below 128. Where there is a fused multiply-add, the product
/// is not rounded before.
GOLDFINCH_INLINE void store_rounded(int8* to, vec x, float scale) {
#if GOLDFINCH_AVX2
    // Adding 1.5 * 2^23 rounds, and leaves the integer in the low bits.
    vec const sums = multiply_add(x, broadcast(scale), broadcast(12582912.0f));
#if GOLDFINCH_AVX512
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(_mm512_castps_si512(sums)));
#else
    __m256i const low = _mm256_and_si256(_mm256_castps_si256(sums), _mm256_set1_epi32(0xff));
    __m128i const words = _mm_packs_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_packus_epi16(words, words));
#endif
#elif GOLDFINCH_SSE2
    __m128i const integers = _mm_cvtps_epi32(x * broadcast(scale));
    __m128i const words = _mm_packs_epi32(integers, integers);
    int const bytes = _mm_cvtsi128_si32(_mm_packs_epi16(words, words));
    __builtin_memcpy(to, &bytes, sizeof bytes);
#elif GOLDFINCH_NEON
    int16x4_t const words = vmovn_s32(vreinterpretq_s32_f32(vfmaq_n_f32(vdupq_n_f32(12582912.0f), x, scale)));
    int8x8_t const bytes = vmovn_s16(vcombine_s16(words, words));
    vst1_lane_s32(reinterpret_cast<std::int32_t*>(to), vreinterpret_s32_s8(bytes), 0);
#else
    alignas(alignment) float wide[lanes];
    x.store_aligned(wide);
    for (std::size_t i = 0; i < lanes; ++i) to[i] = static_cast<int8>(::lrintf(wide[i] * scale));
#endif
}

/// In place: the elements of a and b in turn, a from their first halves, b from their second.
GOLDFINCH_INLINE void interleave(vec& a, vec& b) {
#if GOLDFINCH_AVX512
    __m512i const first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    __m512i const second = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    vec const low(_mm512_permutex2var_ps(a, first, b));
    b = vec(_mm512_permutex2var_ps(a, second, b));
    a = low;
#elif GOLDFINCH_AVX2
    __m256 const low = _mm256_unpacklo_ps(a, b), high = _mm256_unpackhi_ps(a, b);
    a = vec(_mm256_permute2f128_ps(low, high, 0x20));
    b = vec(_mm256_permute2f128_ps(low, high, 0x31));
#elif GOLDFINCH_SSE2 || GOLDFINCH_NEON
    vec const low = xsimd::zip_lo(a, b);
    b = xsimd::zip_hi(a, b);
    a = low;
#else
    float in[2][lanes], out[2 * lanes];
    store(in[0], a), store(in[1], b);
    for (std::size_t i = 0; i < lanes; ++i) out[2 * i] = in[0][i], out[2 * i + 1] = in[1][i];
    a = load(out), b = load(out + lanes);
#endif
}

/// The inverse of `interleave`, which is the identity when it is done once for each bit of an element's number.
GOLDFINCH_INLINE void deinterleave(vec& a, vec& b) {
    GOLDFINCH_UNROLL
    for (std::size_t n = 1; n < lanes; n *= 2) interleave(a, b);
}

/// Lanes 2i and 2i + 1 change places.
GOLDFINCH_INLINE vec swap_pairs(vec x) {
#if GOLDFINCH_AVX512
    return vec(_mm512_permute_ps(x, 0xb1));
#elif GOLDFINCH_AVX2
    return vec(_mm256_permute_ps(x, 0xb1));
#elif GOLDFINCH_SSE2
    return vec(_mm_shuffle_ps(x, x, 0xb1));
#elif GOLDFINCH_NEON
    return vec(vrev64q_f32(x));
#else
    alignas(alignment) float from[lanes], to[lanes];
    x.store_aligned(from);
    for (std::size_t i = 0; i < lanes; ++i) to[i] = from[i ^ 1];
    return vec::load_aligned(to);
#endif
}

/// Asks for the cache line of p, which may be anywhere.
GOLDFINCH_INLINE void prefetch_line([[maybe_unused]] void const* p) {
#if defined(__GNUC__) || defined(__clang__)
    __builtin_prefetch(p, 0, 3);
#endif
}

/// The same in L2, where more requests can wait than in L1.
GOLDFINCH_INLINE void prefetch_later([[maybe_unused]] void const* p) {
#if defined(__GNUC__) || defined(__clang__)
    __builtin_prefetch(p, 0, 2);
#endif
}

/// Asks for a cache line that is wanted soon, and in L2 for one that is wanted later.
GOLDFINCH_INLINE void prefetch_lines(void const* soon, void const* later) {
    prefetch_line(soon);
    prefetch_later(later);
}

/// The same for lines so many bytes ahead of what is in use, perhaps behind the array.
GOLDFINCH_INLINE void prefetch_ahead(void const* here, std::size_t soon, std::size_t later) {
    auto const at = reinterpret_cast<std::uintptr_t>(here);
    prefetch_lines(reinterpret_cast<void const*>(at + soon), reinterpret_cast<void const*>(at + later));
}

/// How far ahead weights that are read in order are asked for, by the level of cache.
inline constexpr std::size_t weights_ahead_l1 = 512, weights_ahead_l2 = std::size_t{32} << 10;
GOLDFINCH_INLINE void prefetch_weights(void const* here) { prefetch_ahead(here, weights_ahead_l1, weights_ahead_l2); }

/// Asks for memory that is wanted soon.
template <class T>
void prefetch([[maybe_unused]] T const* p, [[maybe_unused]] std::size_t n) {
#if defined(__GNUC__) || defined(__clang__)
    for (std::size_t i = 0; i < n; i += alignment / sizeof(T)) __builtin_prefetch(p + i, 0, 2);
#endif
}

}  // namespace kernel
}  // namespace GOLDFINCH_TARGET
}  // namespace goldfinch
