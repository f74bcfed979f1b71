// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <type_traits>

#include <goldfinch/backend/cpu.hpp>
#include <goldfinch/message.hpp>
#include <goldfinch/numeric.hpp>
#include <goldfinch/view.hpp>

#include <xsimd/xsimd.hpp>

// The same inline function compiled with other -m flags is another function: it needs another name, or the linker picks one of
// the two. Everything that mentions simd therefore lives in an inline namespace named after the instruction set.
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define GOLDFINCH_ISA avx512
#elif defined(__AVX2__) && defined(__FMA__)
#define GOLDFINCH_ISA avx2_fma
#elif defined(__AVX2__)
#define GOLDFINCH_ISA avx2
#elif defined(__AVX__)
#define GOLDFINCH_ISA avx
#elif defined(__SSE4_1__)
#define GOLDFINCH_ISA sse4
#elif defined(__SSE2__)
#define GOLDFINCH_ISA sse2
#elif defined(__aarch64__)
#define GOLDFINCH_ISA neon64
#else
#define GOLDFINCH_ISA generic
#endif

#if defined(__clang__) || defined(__GNUC__)
#define GOLDFINCH_INLINE inline __attribute__((always_inline))
#define GOLDFINCH_LAMBDA_INLINE __attribute__((always_inline))  // the same after a lambda's parameters
#else
#define GOLDFINCH_INLINE inline
#define GOLDFINCH_LAMBDA_INLINE
#endif

// Before a loop over an array of vectors, at most 32 of them: unrolled completely, so that the array stays in registers.
#if defined(__clang__)
#define GOLDFINCH_UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define GOLDFINCH_UNROLL _Pragma("GCC unroll 32")
#else
#define GOLDFINCH_UNROLL
#endif

namespace goldfinch {
inline namespace GOLDFINCH_ISA {

/// The SIMD backend: weights stored as Weight, everything else in float32. Vectors as wide as the build's instruction set
/// allows (xsimd), and the model's threads. Results do not depend on the number of threads.
template <class Weight>
struct simd : cpu_executor {
    static_assert(std::is_same_v<Weight, float> || std::is_same_v<Weight, bf16> || std::is_same_v<Weight, half>,
                  "goldfinch: simd<Weight> takes float, goldfinch::bf16 or goldfinch::half");
    using weight = Weight;  ///< what weights are stored as
    using scalar = float;   ///< what activations, states and sums are
    using runtime = cpu_runtime;
    template <class T>
    using buffer = aligned_vector<T>;

    explicit simd(cpu_executor const& at) : cpu_executor(at) {}
};

// Not `detail`: goldfinch::detail exists too, and through the inline namespace the two would be ambiguous.
namespace kernel {

using batch = xsimd::batch<float>;
inline constexpr std::size_t lanes = batch::size;

// One vector of float from storage of any type, at any alignment.
GOLDFINCH_INLINE batch load(float const* p) { return batch::load_unaligned(p); }
GOLDFINCH_INLINE void store(float* p, batch x) { x.store_unaligned(p); }

/// Portable form of the loads below, and what they are tested against.
template <class T>
GOLDFINCH_INLINE batch load_portable(T const* p) {
    alignas(alignment) float wide[lanes];
    for (std::size_t i = 0; i < lanes; ++i) wide[i] = static_cast<float>(p[i]);
    return batch::load_aligned(wide);
}
template <class T>
requires(!std::is_same_v<T, float>) GOLDFINCH_INLINE batch load(T const* p) {
#if defined(__AVX512F__)
    if constexpr (std::is_same_v<T, bf16>)
        return batch(_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<__m256i const*>(p))), 16)));
    else if constexpr (std::is_same_v<T, half>)
        return batch(_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<__m256i const*>(p))));
    else
        return load_portable(p);
#elif defined(__AVX2__)
    if constexpr (std::is_same_v<T, bf16>)
        return batch(_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<__m128i const*>(p))), 16)));
#if defined(__F16C__)
    else if constexpr (std::is_same_v<T, half>)
        return batch(_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<__m128i const*>(p))));
#endif
    else
        return load_portable(p);
#elif defined(__SSE2__) && !defined(__AVX__)
    if constexpr (std::is_same_v<T, bf16>)
        return batch(_mm_castsi128_ps(_mm_unpacklo_epi16(_mm_setzero_si128(), _mm_loadl_epi64(reinterpret_cast<__m128i const*>(p)))));
    else
        return load_portable(p);
#else
    return load_portable(p);
#endif
}

// Parts of a vector where there are no masks for them. They are the ends of rows: not worth their code in every loop.
template <class T>
GOLDFINCH_COLD batch load_part(T const* p, std::size_t n) {
    alignas(alignment) float wide[lanes] = {};
    for (std::size_t i = 0; i < n; ++i) wide[i] = static_cast<float>(p[i]);
    return batch::load_aligned(wide);
}
GOLDFINCH_COLD inline void store_part(float* p, batch x, std::size_t n) {
    alignas(alignment) float wide[lanes];
    x.store_aligned(wide);
    for (std::size_t i = 0; i < n; ++i) p[i] = wide[i];
}

/// The first n lanes from storage, zeros behind. Reads nothing behind them.
template <class T>
GOLDFINCH_INLINE batch load(T const* p, std::size_t n) {
    if (n >= lanes) return load(p);
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__)
    if constexpr (std::is_same_v<T, float>) {
        return batch(_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1u), p));
    } else if constexpr (std::is_same_v<T, bf16>) {
        auto const bits = _mm256_maskz_loadu_epi16(static_cast<__mmask16>((1u << n) - 1u), p);
        return batch(_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16)));
    }
#endif
    return load_part(p, n);
}
GOLDFINCH_INLINE void store(float* p, batch x, std::size_t n) {
    if (n >= lanes) return store(p, x);
#if defined(__AVX512F__)
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1u), x);
#else
    store_part(p, x, n);
#endif
}

#if XSIMD_VERSION_MAJOR >= 9
GOLDFINCH_INLINE float sum(batch x) { return xsimd::reduce_add(x); }
#else
GOLDFINCH_INLINE float sum(batch x) { return xsimd::hadd(x); }
#endif
GOLDFINCH_INLINE batch broadcast(float x) { return batch(x); }

/// x * y + z; one instruction where there is one (xsimd 8 has none for AVX-512).
GOLDFINCH_INLINE batch multiply_add(batch x, batch y, batch z) {
#if defined(__AVX512F__)
    return batch(_mm512_fmadd_ps(x, y, z));
#else
    return xsimd::fma(x, y, z);
#endif
}

/// Asks for memory that is wanted soon.
template <class T>
void prefetch([[maybe_unused]] T const* p, [[maybe_unused]] std::size_t n) {
#if defined(__GNUC__) || defined(__clang__)
    for (std::size_t i = 0; i < n; i += alignment / sizeof(T)) __builtin_prefetch(p + i, 0, 2);
#endif
}

}  // namespace kernel

}  // namespace GOLDFINCH_ISA
}  // namespace goldfinch
