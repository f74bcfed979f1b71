// SPDX-License-Identifier: Apache-2.0
#pragma once

#if defined(__AVX__)
#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes the undefined operand of its own AVX-512 intrinsics for a mistake, wherever Eigen and xsimd are inlined.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#else
#include <immintrin.h>
#endif
#elif defined(__SSE2__)
#include <emmintrin.h>  // the header with everything takes a compiler ten times as long
#endif
