// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <goldfinch/compiler.hpp>

// Which instruction set this translation unit's kernels are compiled for.
//
// Kernels branch on GOLDFINCH_SSE2 to GOLDFINCH_NEON below, which tell the whole set, and on no macro of the compiler's. The compiler
// uses every instruction that its flags allow. The same inline function compiled with other flags is another function and needs another
// name, or the linker keeps one of the two: so everything that kernels consist of lives in an inline namespace GOLDFINCH_TARGET, named
// after the set and the flags beyond it: avx2, avx512_haswell_cd, sse2_avx.

// Each set includes those before it.
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
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
#if GOLDFINCH_AVX512_BF16 && defined(__AMX_TILE__) && defined(__AMX_INT8__) && defined(__AMX_BF16__)
#define GOLDFINCH_AMX 1
#else
#define GOLDFINCH_AMX 0
#endif
#if GOLDFINCH_AVX512 || (defined(__AVX2__) && defined(__FMA__) && defined(__F16C__))
#define GOLDFINCH_AVX2 1
#else
#define GOLDFINCH_AVX2 0
#endif
#if defined(__SSE2__)
#define GOLDFINCH_SSE2 1
#else
#define GOLDFINCH_SSE2 0
#endif
#if defined(__aarch64__)
#define GOLDFINCH_NEON 1
#else
#define GOLDFINCH_NEON 0
#endif

// The set's name, as instruction_set() gives it.
#if GOLDFINCH_AMX
#define GOLDFINCH_SET amx
#elif GOLDFINCH_AVX512_BF16
#define GOLDFINCH_SET avx512_bf16
#elif GOLDFINCH_AVX512_VNNI
#define GOLDFINCH_SET avx512_vnni
#elif GOLDFINCH_AVX512
#define GOLDFINCH_SET avx512
#elif GOLDFINCH_AVX2
#define GOLDFINCH_SET avx2
#elif GOLDFINCH_SSE2
#define GOLDFINCH_SET sse2
#elif GOLDFINCH_NEON
#define GOLDFINCH_SET neon
#else
#define GOLDFINCH_SET generic
#endif

// Flags beyond the set, as suffixes of its name.
#if !GOLDFINCH_AVX2 && GOLDFINCH_SSE2 && defined(__AVX2__)
#define GOLDFINCH_FLAGS_SSE _avx2
#elif !GOLDFINCH_AVX2 && GOLDFINCH_SSE2 && defined(__AVX__)
#define GOLDFINCH_FLAGS_SSE _avx
#elif !GOLDFINCH_AVX2 && GOLDFINCH_SSE2 && defined(__SSE4_2__)
#define GOLDFINCH_FLAGS_SSE _sse4_2
#elif !GOLDFINCH_AVX2 && GOLDFINCH_SSE2 && defined(__SSE4_1__)
#define GOLDFINCH_FLAGS_SSE _sse4_1
#elif !GOLDFINCH_AVX2 && GOLDFINCH_SSE2 && defined(__SSSE3__)
#define GOLDFINCH_FLAGS_SSE _ssse3
#elif !GOLDFINCH_AVX2 && GOLDFINCH_SSE2 && defined(__SSE3__)
#define GOLDFINCH_FLAGS_SSE _sse3
#else
#define GOLDFINCH_FLAGS_SSE
#endif
#if !GOLDFINCH_AVX2 && GOLDFINCH_SSE2 && defined(__FMA__)
#define GOLDFINCH_FLAGS_FMA _fma
#elif GOLDFINCH_AVX512 && !defined(__FMA__)
#define GOLDFINCH_FLAGS_FMA _nofma
#else
#define GOLDFINCH_FLAGS_FMA
#endif
#if !GOLDFINCH_AVX2 && GOLDFINCH_SSE2 && defined(__F16C__)
#define GOLDFINCH_FLAGS_F16C _f16c
#elif GOLDFINCH_AVX512 && !defined(__F16C__)
#define GOLDFINCH_FLAGS_F16C _nof16c
#else
#define GOLDFINCH_FLAGS_F16C
#endif
#if defined(__POPCNT__) && !defined(__SSE4_2__)
#define GOLDFINCH_FLAGS_POPCNT _popcnt
#elif !defined(__POPCNT__) && defined(__SSE4_2__)
#define GOLDFINCH_FLAGS_POPCNT _nopopcnt
#else
#define GOLDFINCH_FLAGS_POPCNT
#endif
#if !GOLDFINCH_AVX512 && defined(__AVX512F__)
#define GOLDFINCH_FLAGS_AVX512F _avx512f
#else
#define GOLDFINCH_FLAGS_AVX512F
#endif
#if !GOLDFINCH_AVX512 && defined(__AVX512BW__)
#define GOLDFINCH_FLAGS_AVX512BW _bw
#else
#define GOLDFINCH_FLAGS_AVX512BW
#endif
#if !GOLDFINCH_AVX512 && defined(__AVX512DQ__)
#define GOLDFINCH_FLAGS_AVX512DQ _dq
#else
#define GOLDFINCH_FLAGS_AVX512DQ
#endif
#if !GOLDFINCH_AVX512 && defined(__AVX512VL__)
#define GOLDFINCH_FLAGS_AVX512VL _vl
#else
#define GOLDFINCH_FLAGS_AVX512VL
#endif
#if !GOLDFINCH_AVX512_VNNI && defined(__AVX512VNNI__)
#define GOLDFINCH_FLAGS_VNNI _vnni
#else
#define GOLDFINCH_FLAGS_VNNI
#endif
#if !GOLDFINCH_AVX512_BF16 && defined(__AVX512BF16__)
#define GOLDFINCH_FLAGS_BF16 _bf16
#else
#define GOLDFINCH_FLAGS_BF16
#endif
#if !GOLDFINCH_AMX && defined(__AMX_TILE__)
#define GOLDFINCH_FLAGS_AMX_TILE _amx_tile
#else
#define GOLDFINCH_FLAGS_AMX_TILE
#endif
#if !GOLDFINCH_AMX && defined(__AMX_INT8__)
#define GOLDFINCH_FLAGS_AMX_INT8 _amx_int8
#else
#define GOLDFINCH_FLAGS_AMX_INT8
#endif
#if !GOLDFINCH_AMX && defined(__AMX_BF16__)
#define GOLDFINCH_FLAGS_AMX_BF16 _amx_bf16
#else
#define GOLDFINCH_FLAGS_AMX_BF16
#endif
#if defined(__BMI__) && defined(__BMI2__) && defined(__LZCNT__) && defined(__MOVBE__)
#define GOLDFINCH_FLAGS_HASWELL _haswell
#else
#define GOLDFINCH_FLAGS_HASWELL
#endif
#if !(defined(__BMI__) && defined(__BMI2__) && defined(__LZCNT__) && defined(__MOVBE__)) && defined(__BMI__)
#define GOLDFINCH_FLAGS_BMI _bmi
#else
#define GOLDFINCH_FLAGS_BMI
#endif
#if !(defined(__BMI__) && defined(__BMI2__) && defined(__LZCNT__) && defined(__MOVBE__)) && defined(__BMI2__)
#define GOLDFINCH_FLAGS_BMI2 _bmi2
#else
#define GOLDFINCH_FLAGS_BMI2
#endif
#if !(defined(__BMI__) && defined(__BMI2__) && defined(__LZCNT__) && defined(__MOVBE__)) && defined(__LZCNT__)
#define GOLDFINCH_FLAGS_LZCNT _lzcnt
#else
#define GOLDFINCH_FLAGS_LZCNT
#endif
#if !(defined(__BMI__) && defined(__BMI2__) && defined(__LZCNT__) && defined(__MOVBE__)) && defined(__MOVBE__)
#define GOLDFINCH_FLAGS_MOVBE _movbe
#else
#define GOLDFINCH_FLAGS_MOVBE
#endif
#if defined(__AVX512CD__)
#define GOLDFINCH_FLAGS_AVX512CD _cd
#else
#define GOLDFINCH_FLAGS_AVX512CD
#endif
#if defined(__AVX512IFMA__) && defined(__AVX512VBMI__) && defined(__AVX512VBMI2__) && defined(__AVX512BITALG__) && defined(__AVX512VPOPCNTDQ__)
#define GOLDFINCH_FLAGS_ICELAKE _icelake
#else
#define GOLDFINCH_FLAGS_ICELAKE
#endif
#if !(defined(__AVX512IFMA__) && defined(__AVX512VBMI__) && defined(__AVX512VBMI2__) && defined(__AVX512BITALG__) && defined(__AVX512VPOPCNTDQ__)) && defined(__AVX512IFMA__)
#define GOLDFINCH_FLAGS_AVX512IFMA _ifma
#else
#define GOLDFINCH_FLAGS_AVX512IFMA
#endif
#if !(defined(__AVX512IFMA__) && defined(__AVX512VBMI__) && defined(__AVX512VBMI2__) && defined(__AVX512BITALG__) && defined(__AVX512VPOPCNTDQ__)) && defined(__AVX512VBMI__)
#define GOLDFINCH_FLAGS_AVX512VBMI _vbmi
#else
#define GOLDFINCH_FLAGS_AVX512VBMI
#endif
#if !(defined(__AVX512IFMA__) && defined(__AVX512VBMI__) && defined(__AVX512VBMI2__) && defined(__AVX512BITALG__) && defined(__AVX512VPOPCNTDQ__)) && defined(__AVX512VBMI2__)
#define GOLDFINCH_FLAGS_AVX512VBMI2 _vbmi2
#else
#define GOLDFINCH_FLAGS_AVX512VBMI2
#endif
#if !(defined(__AVX512IFMA__) && defined(__AVX512VBMI__) && defined(__AVX512VBMI2__) && defined(__AVX512BITALG__) && defined(__AVX512VPOPCNTDQ__)) && defined(__AVX512BITALG__)
#define GOLDFINCH_FLAGS_AVX512BITALG _bitalg
#else
#define GOLDFINCH_FLAGS_AVX512BITALG
#endif
#if !(defined(__AVX512IFMA__) && defined(__AVX512VBMI__) && defined(__AVX512VBMI2__) && defined(__AVX512BITALG__) && defined(__AVX512VPOPCNTDQ__)) && defined(__AVX512VPOPCNTDQ__)
#define GOLDFINCH_FLAGS_AVX512VPOPCNTDQ _vpopcntdq
#else
#define GOLDFINCH_FLAGS_AVX512VPOPCNTDQ
#endif
#if defined(__AVX512FP16__)
#define GOLDFINCH_FLAGS_AVX512FP16 _fp16
#else
#define GOLDFINCH_FLAGS_AVX512FP16
#endif
#if defined(__AVXVNNI__)
#define GOLDFINCH_FLAGS_AVXVNNI _avxvnni
#else
#define GOLDFINCH_FLAGS_AVXVNNI
#endif
#if defined(__AVXVNNIINT8__)
#define GOLDFINCH_FLAGS_AVXVNNIINT8 _vnniint8
#else
#define GOLDFINCH_FLAGS_AVXVNNIINT8
#endif
#if defined(__AVXVNNIINT16__)
#define GOLDFINCH_FLAGS_AVXVNNIINT16 _vnniint16
#else
#define GOLDFINCH_FLAGS_AVXVNNIINT16
#endif
#if defined(__AVXIFMA__)
#define GOLDFINCH_FLAGS_AVXIFMA _avxifma
#else
#define GOLDFINCH_FLAGS_AVXIFMA
#endif
#if defined(__GFNI__)
#define GOLDFINCH_FLAGS_GFNI _gfni
#else
#define GOLDFINCH_FLAGS_GFNI
#endif
#if defined(__SSE4A__)
#define GOLDFINCH_FLAGS_SSE4A _sse4a
#else
#define GOLDFINCH_FLAGS_SSE4A
#endif
#if defined(__FMA4__)
#define GOLDFINCH_FLAGS_FMA4 _fma4
#else
#define GOLDFINCH_FLAGS_FMA4
#endif
#if defined(__XOP__)
#define GOLDFINCH_FLAGS_XOP _xop
#else
#define GOLDFINCH_FLAGS_XOP
#endif
#if defined(__TBM__)
#define GOLDFINCH_FLAGS_TBM _tbm
#else
#define GOLDFINCH_FLAGS_TBM
#endif
#if defined(__AVX10_1__)
#define GOLDFINCH_FLAGS_AVX10_1 _avx10_1
#else
#define GOLDFINCH_FLAGS_AVX10_1
#endif
#if defined(__AVX10_2__)
#define GOLDFINCH_FLAGS_AVX10_2 _avx10_2
#else
#define GOLDFINCH_FLAGS_AVX10_2
#endif
#if defined(__APX_F__)
#define GOLDFINCH_FLAGS_APX_F _apx
#else
#define GOLDFINCH_FLAGS_APX_F
#endif
#if defined(__ARM_FEATURE_SVE2)
#define GOLDFINCH_FLAGS_SVE _sve2
#elif defined(__ARM_FEATURE_SVE)
#define GOLDFINCH_FLAGS_SVE _sve
#else
#define GOLDFINCH_FLAGS_SVE
#endif
#if GOLDFINCH_NEON && defined(__ARM_FEATURE_DOTPROD)
#define GOLDFINCH_FLAGS_ARM_DOTPROD _dotprod
#else
#define GOLDFINCH_FLAGS_ARM_DOTPROD
#endif
#if GOLDFINCH_NEON && defined(__ARM_FEATURE_MATMUL_INT8)
#define GOLDFINCH_FLAGS_ARM_MATMUL_INT8 _i8mm
#else
#define GOLDFINCH_FLAGS_ARM_MATMUL_INT8
#endif
#if GOLDFINCH_NEON && defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
#define GOLDFINCH_FLAGS_ARM_BF16_VECTOR_ARITHMETIC _bf16
#else
#define GOLDFINCH_FLAGS_ARM_BF16_VECTOR_ARITHMETIC
#endif
#if GOLDFINCH_NEON && defined(__ARM_FEATURE_FP16_VECTOR_ARITHMETIC)
#define GOLDFINCH_FLAGS_ARM_FP16_VECTOR_ARITHMETIC _fp16
#else
#define GOLDFINCH_FLAGS_ARM_FP16_VECTOR_ARITHMETIC
#endif
#if GOLDFINCH_NEON && defined(__ARM_FEATURE_FP16_FML)
#define GOLDFINCH_FLAGS_ARM_FP16_FML _fp16fml
#else
#define GOLDFINCH_FLAGS_ARM_FP16_FML
#endif
#if GOLDFINCH_NEON && defined(__ARM_FEATURE_QRDMX)
#define GOLDFINCH_FLAGS_ARM_QRDMX _rdm
#else
#define GOLDFINCH_FLAGS_ARM_QRDMX
#endif

#define GOLDFINCH_TARGET \
    GOLDFINCH_JOIN_ALL(GOLDFINCH_JOIN_8(GOLDFINCH_SET, GOLDFINCH_FLAGS_SSE, GOLDFINCH_FLAGS_FMA, GOLDFINCH_FLAGS_F16C, GOLDFINCH_FLAGS_POPCNT, GOLDFINCH_FLAGS_AVX512F, GOLDFINCH_FLAGS_AVX512BW, GOLDFINCH_FLAGS_AVX512DQ), \
                     GOLDFINCH_JOIN_8(GOLDFINCH_FLAGS_AVX512VL, GOLDFINCH_FLAGS_VNNI, GOLDFINCH_FLAGS_BF16, GOLDFINCH_FLAGS_AMX_TILE, GOLDFINCH_FLAGS_AMX_INT8, GOLDFINCH_FLAGS_AMX_BF16, GOLDFINCH_FLAGS_HASWELL, GOLDFINCH_FLAGS_BMI), \
                     GOLDFINCH_JOIN_8(GOLDFINCH_FLAGS_BMI2, GOLDFINCH_FLAGS_LZCNT, GOLDFINCH_FLAGS_MOVBE, GOLDFINCH_FLAGS_AVX512CD, GOLDFINCH_FLAGS_ICELAKE, GOLDFINCH_FLAGS_AVX512IFMA, GOLDFINCH_FLAGS_AVX512VBMI, GOLDFINCH_FLAGS_AVX512VBMI2), \
                     GOLDFINCH_JOIN_8(GOLDFINCH_FLAGS_AVX512BITALG, GOLDFINCH_FLAGS_AVX512VPOPCNTDQ, GOLDFINCH_FLAGS_AVX512FP16, GOLDFINCH_FLAGS_AVXVNNI, GOLDFINCH_FLAGS_AVXVNNIINT8, GOLDFINCH_FLAGS_AVXVNNIINT16, GOLDFINCH_FLAGS_AVXIFMA, GOLDFINCH_FLAGS_GFNI), \
                     GOLDFINCH_JOIN_8(GOLDFINCH_FLAGS_SSE4A, GOLDFINCH_FLAGS_FMA4, GOLDFINCH_FLAGS_XOP, GOLDFINCH_FLAGS_TBM, GOLDFINCH_FLAGS_AVX10_1, GOLDFINCH_FLAGS_AVX10_2, GOLDFINCH_FLAGS_APX_F, GOLDFINCH_FLAGS_SVE), \
                     GOLDFINCH_JOIN_8(GOLDFINCH_FLAGS_ARM_DOTPROD, GOLDFINCH_FLAGS_ARM_MATMUL_INT8, GOLDFINCH_FLAGS_ARM_BF16_VECTOR_ARITHMETIC, GOLDFINCH_FLAGS_ARM_FP16_VECTOR_ARITHMETIC, GOLDFINCH_FLAGS_ARM_FP16_FML, GOLDFINCH_FLAGS_ARM_QRDMX, ,),,)
#define GOLDFINCH_JOIN_8(a, b, c, d, e, f, g, h) GOLDFINCH_JOIN_TOKENS_8(a, b, c, d, e, f, g, h)
#define GOLDFINCH_JOIN_TOKENS_8(a, b, c, d, e, f, g, h) a##b##c##d##e##f##g##h
#define GOLDFINCH_JOIN_ALL(a, b, c, d, e, f, g, h) GOLDFINCH_JOIN_TOKENS_8(a, b, c, d, e, f, g, h)
