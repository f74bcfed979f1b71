// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <goldfinch/compiler.hpp>

// Which instruction set this translation unit's kernels are compiled for.
//
// Kernels branch on GOLDFINCH_SSE2 to GOLDFINCH_NEON_DOTPROD below, each of which stands for a whole set, and on no macro of the compiler's. The
// same inline function compiled with other flags is another function and needs another name, or the linker keeps one of the two. So what
// kernels consist of lives in an inline namespace GOLDFINCH_TARGET, named after the set and, where the flags allow the compiler vector
// instructions beyond it, after those: avx2, sse2_avx, avx2_avx512f.

// Each set includes those before it.
#if defined(__SSE2__)
#define GOLDFINCH_SSE2 1
#else
#define GOLDFINCH_SSE2 0
#endif
#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#define GOLDFINCH_AVX2 1
#else
#define GOLDFINCH_AVX2 0
#endif
#if GOLDFINCH_AVX2 && defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define GOLDFINCH_AVX512 1
#else
#define GOLDFINCH_AVX512 0
#endif
#if GOLDFINCH_AVX512 && defined(__AVX512VNNI__)
#define GOLDFINCH_AVX512_VNNI 1
#else
#define GOLDFINCH_AVX512_VNNI 0
#endif
#if GOLDFINCH_AVX512_VNNI && defined(__AVX512BF16__)
#define GOLDFINCH_AVX512_BF16 1
#else
#define GOLDFINCH_AVX512_BF16 0
#endif
#if GOLDFINCH_AVX512_BF16 && ((defined(__AMX_TILE__) && defined(__AMX_INT8__) && defined(__AMX_BF16__)) || \
                              (defined(__AMXTILE__) && defined(__AMXINT8__) && defined(__AMXBF16__)))  // as Clang 14 calls them
#define GOLDFINCH_AMX 1
#else
#define GOLDFINCH_AMX 0
#endif
#if defined(__aarch64__)
#define GOLDFINCH_NEON 1
#else
#define GOLDFINCH_NEON 0
#endif
#if GOLDFINCH_NEON && defined(__ARM_FEATURE_DOTPROD)
#define GOLDFINCH_NEON_DOTPROD 1
#else
#define GOLDFINCH_NEON_DOTPROD 0
#endif

// The set's name, as instruction_set() gives it, and what the compiler may use beyond it.
#if GOLDFINCH_AMX
#define GOLDFINCH_SET amx
#define GOLDFINCH_BEYOND
#elif GOLDFINCH_AVX512_BF16
#define GOLDFINCH_SET avx512_bf16
#define GOLDFINCH_BEYOND
#elif GOLDFINCH_AVX512_VNNI
#define GOLDFINCH_SET avx512_vnni
#define GOLDFINCH_BEYOND
#elif GOLDFINCH_AVX512
#define GOLDFINCH_SET avx512
#if defined(__AVX512BF16__)
#define GOLDFINCH_BEYOND _bf16
#else
#define GOLDFINCH_BEYOND
#endif
#elif GOLDFINCH_AVX2
#define GOLDFINCH_SET avx2
#if defined(__AVX512VL__)
#define GOLDFINCH_BEYOND _avx512vl
#elif defined(__AVX512F__)
#define GOLDFINCH_BEYOND _avx512f
#else
#define GOLDFINCH_BEYOND
#endif
#elif GOLDFINCH_SSE2
#define GOLDFINCH_SET sse2
#if defined(__AVX512F__)
#define GOLDFINCH_BEYOND _avx512f
#elif defined(__AVX2__) && defined(__FMA__)
#define GOLDFINCH_BEYOND _avx2_fma
#elif defined(__AVX2__) && defined(__F16C__)
#define GOLDFINCH_BEYOND _avx2_f16c
#elif defined(__AVX2__)
#define GOLDFINCH_BEYOND _avx2
#elif defined(__FMA__)
#define GOLDFINCH_BEYOND _fma
#elif defined(__AVX__)
#define GOLDFINCH_BEYOND _avx
#elif defined(__SSE4_1__)
#define GOLDFINCH_BEYOND _sse4
#else
#define GOLDFINCH_BEYOND
#endif
#elif GOLDFINCH_NEON
#if GOLDFINCH_NEON_DOTPROD
#define GOLDFINCH_SET neon_dotprod
#else
#define GOLDFINCH_SET neon
#endif
#if defined(__ARM_FEATURE_SVE)
#define GOLDFINCH_BEYOND _sve
#else
#define GOLDFINCH_BEYOND
#endif
#else
#define GOLDFINCH_SET generic
#define GOLDFINCH_BEYOND
#endif

#define GOLDFINCH_TARGET GOLDFINCH_JOIN(GOLDFINCH_SET, GOLDFINCH_BEYOND)

/// The inline namespace of what calls kernels and is compiled with a program's own flags. A program that holds kernels for several
/// instruction sets (goldfinch_dispatch() in CMake, which defines GOLDFINCH_DISPATCH) calls them through a table, whatever its flags.
#if defined(GOLDFINCH_DISPATCH)
#define GOLDFINCH_SIMD_NAMESPACE dispatch
#else
#define GOLDFINCH_SIMD_NAMESPACE GOLDFINCH_TARGET
#endif
