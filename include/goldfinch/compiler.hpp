// SPDX-License-Identifier: Apache-2.0
#pragma once

// What differs between compilers.

#if defined(__GNUC__) || defined(__clang__)
#define GOLDFINCH_COLD [[gnu::noinline, gnu::cold]]  // code that runs seldom or once: small rather than fast
#define GOLDFINCH_NOINLINE [[gnu::noinline]]         // where copies in all callers are worth less than the call
#define GOLDFINCH_INLINE inline __attribute__((always_inline))
#define GOLDFINCH_LAMBDA_INLINE __attribute__((always_inline))  // the same after a lambda's parameters
#else
#define GOLDFINCH_COLD
#define GOLDFINCH_NOINLINE
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

/// Marks a function that a backend may run where it computes: before the parameters of a lambda, or before a function.
#if defined(__CUDACC__)
#define GOLDFINCH_FN __host__ __device__
#else
#define GOLDFINCH_FN
#endif

// Pastes and quotes what macros expand to.
#define GOLDFINCH_JOIN(a, b) GOLDFINCH_JOIN_TOKENS(a, b)
#define GOLDFINCH_JOIN_TOKENS(a, b) a##b
#define GOLDFINCH_TEXT(a) GOLDFINCH_TEXT_OF_TOKENS(a)
#define GOLDFINCH_TEXT_OF_TOKENS(a) #a

namespace goldfinch::detail {

/// std::bit_cast that is never a function of its own, whatever the optimisation.
template <class To, class From>
GOLDFINCH_INLINE constexpr To bits_as(From const& x) {
    return __builtin_bit_cast(To, x);
}

}  // namespace goldfinch::detail
