// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <goldfinch/compiled_for.hpp>

#if GOLDFINCH_AVX512_VNNI

#include <cstddef>
#include <cstdint>

#include <goldfinch/backend/simd/kernels/integers.hpp>

// Products of packed integers with activations rounded to 16 bits, in integer arithmetic (VNNI): bytes of weights u times the high and the low bytes
// of q = 256 high + low, where x = q * scale in each block of 64.
//
//     sum (u - zero) x  =  scale * ((sum u high) * 256  +  sum u low  -  zero * sum q)
//
// The sums of a block are exact in 32 bits. 4-bit weights are two to a byte, so that even columns and odd ones are multiplied apart.

namespace goldfinch {
inline namespace GOLDFINCH_TARGET {
namespace kernel {

/// Activations rounded to 16 bits, of one group of columns: as many as a vector of packed weights has.
template <std::size_t Bits>
struct rounded_group {
    static constexpr std::size_t columns = integers<Bits>::columns, parts = 8 / Bits;  // of a byte
    alignas(alignment) std::int8_t high[parts][64];  // the bytes that meet the lowest bits of a byte of weights, then the highest
    std::int8_t low[parts][64];
    std::int32_t offset[16];  // -zero * sum q, of the columns of each lane
    float scale[16];          // of each lane's block
};

/// Rounds a row of x to groups; the last is filled up with zeros. A block that is not finite has NaN for its scale.
template <std::size_t Bits>
void round_row(float const* x, std::size_t n, rounded_group<Bits>* to) {
    using group = rounded_group<Bits>;
    constexpr std::size_t block = detail::quantized_block, blocks = group::columns / block;
    for (std::size_t first = 0; first < n; first += group::columns, ++to) {
        for (std::size_t b = 0; b < blocks; ++b) {
            std::size_t const begin = first + b * block;
            __m512 v[block / 16];
            __m512i most = _mm512_setzero_si512();
            for (std::size_t i = 0; i < block / 16; ++i) {
                std::size_t const c = begin + i * 16;
                v[i] = c < n ? static_cast<__m512>(load(x + c, n - c)) : _mm512_setzero_ps();
                most = _mm512_max_epi32(most, _mm512_and_si512(_mm512_castps_si512(v[i]), _mm512_set1_epi32(0x7fffffff)));
            }
            int const most_bits = _mm512_reduce_max_epi32(most);
            constexpr float largest = 127 * 256 + 127;
            float const magnitude = detail::bits_as<float>(static_cast<std::uint32_t>(most_bits));
            bool const usable = most_bits > 0x00ffffff && most_bits < 0x7f800000;  // neither so small that its inverse is infinite, nor infinite or NaN
            float const scale = most_bits >= 0x7f800000 ? detail::bits_as<float>(0x7fc00000u) : usable ? magnitude / largest : 0;
            __m512 const inverse = _mm512_set1_ps(usable ? largest / magnitude : 0);
            for (std::size_t i = 0; i < block / 16; ++i) {
                __m512i const q = _mm512_maskz_cvtps_epi32(static_cast<__mmask16>(usable ? 0xffff : 0), _mm512_mul_ps(v[i], inverse));
                __m512i const high = _mm512_srai_epi32(_mm512_add_epi32(q, _mm512_set1_epi32(128)), 8);
                __m128i const bytes[2] = {_mm512_cvtepi32_epi8(high), _mm512_cvtepi32_epi8(_mm512_sub_epi32(q, _mm512_slli_epi32(high, 8)))};
                for (int k = 0; k < 2; ++k) {
                    auto* const parts = k == 0 ? to->high : to->low;
                    std::size_t const at = (b * block + i * 16) / group::parts;
                    if constexpr (Bits == 8) {
                        _mm_storeu_si128(reinterpret_cast<__m128i*>(parts[0] + at), bytes[k]);
                    } else {
                        __m128i const apart = _mm_shuffle_epi8(bytes[k], _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15));
                        _mm_storel_epi64(reinterpret_cast<__m128i*>(parts[0] + at), apart);
                        _mm_storel_epi64(reinterpret_cast<__m128i*>(parts[1] + at), _mm_unpackhi_epi64(apart, apart));
                    }
                }
            }
            for (std::size_t i = 0; i < 16 / blocks; ++i) to->scale[b * 16 / blocks + i] = scale;
        }
        __m512i const zero = _mm512_set1_epi8(Bits == 8 ? -128 : 8);  // as an unsigned byte
        __m512i high = _mm512_setzero_si512(), low = high;
        for (std::size_t p = 0; p < group::parts; ++p) {
            high = _mm512_dpbusd_epi32(high, zero, _mm512_load_si512(to->high[p]));
            low = _mm512_dpbusd_epi32(low, zero, _mm512_load_si512(to->low[p]));
        }
        _mm512_store_si512(to->offset, _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_add_epi32(_mm512_slli_epi32(high, 8), low)));
    }
}

/// y [Tokens, Rows] = x w^T for rows of w, where x [Tokens, groups]. Each sum runs over the groups in order, whatever Rows and Tokens are.
template <std::size_t Bits, std::size_t Rows, std::size_t Tokens>
void rounded_dots(packed_matrix const& w, std::size_t row, rounded_group<Bits> const* x, std::size_t groups, float* y, std::size_t y_stride,
                  std::size_t next) {
    constexpr std::size_t scales = rounded_group<Bits>::columns / detail::quantized_block * 2;
    vec s[Rows * Tokens];
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < Rows * Tokens; ++i) s[i] = broadcast(0);
    auto const add_group = [&](std::size_t g, auto const& load_words, auto const& load_scale) GOLDFINCH_LAMBDA_INLINE {
        GOLDFINCH_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            __m512i const words = load_words(w.packed(row + r) + g * 64);
            prefetch_line(w.packed(next + r) + g * 64);
            __m512i const nibble = _mm512_set1_epi8(0x0f);
            __m512i const parts[2] = {Bits == 8 ? words : _mm512_and_si512(words, nibble), _mm512_and_si512(_mm512_srli_epi16(words, 4), nibble)};
            vec const scale = load_scale(w.scale(row + r) + g * scales);
            GOLDFINCH_UNROLL
            for (std::size_t t = 0; t < Tokens; ++t) {
                rounded_group<Bits> const& of = x[t * groups + g];
                __m512i sum = _mm512_setzero_si512();
                for (std::size_t p = 0; p < 8 / Bits; ++p) sum = _mm512_dpbusd_epi32(sum, parts[p], _mm512_load_si512(of.high[p]));
                sum = _mm512_add_epi32(_mm512_slli_epi32(sum, 8), _mm512_load_si512(of.offset));
                for (std::size_t p = 0; p < 8 / Bits; ++p) sum = _mm512_dpbusd_epi32(sum, parts[p], _mm512_load_si512(of.low[p]));
                s[r * Tokens + t] = multiply_add(vec(_mm512_cvtepi32_ps(sum)), scale * load(of.scale), s[r * Tokens + t]);
            }
        }
    };
    std::size_t const whole = w.columns / rounded_group<Bits>::columns;
    for (std::size_t g = 0; g < whole; ++g)
        add_group(
            g, [](std::byte const* p) GOLDFINCH_LAMBDA_INLINE { return _mm512_loadu_si512(p); },
            [](std::byte const* p) GOLDFINCH_LAMBDA_INLINE { return integers<Bits>::scale(p); });
    if (whole < groups) {
        std::size_t const bytes = w.row_bytes - whole * 64, last_scales = w.scale_bytes - whole * scales;
        std::uint64_t const there = ~std::uint64_t{0} >> (64 - bytes);
        add_group(
            whole, [=](std::byte const* p) GOLDFINCH_LAMBDA_INLINE { return _mm512_maskz_loadu_epi8(there, p); },
            [=](std::byte const* p) GOLDFINCH_LAMBDA_INLINE {
                std::byte both[4] = {};
                __builtin_memcpy(both, p, last_scales);
                return integers<Bits>::scale(both);
            });
    }
    for (std::size_t r = 0; r < Rows; ++r)
        for (std::size_t t = 0; t < Tokens; ++t) y[t * y_stride + r] = sum(s[r * Tokens + t]);
}

/// All tokens for Rows rows, which stay in L1 meanwhile.
template <std::size_t Bits, std::size_t Rows>
void rounded_dots_of_all(packed_matrix const& w, std::size_t row, rounded_group<Bits> const* x, std::size_t groups, float* y, std::size_t y_stride,
                         std::size_t tokens, std::size_t next) {
    std::size_t t = 0;
    for (; t + 4 <= tokens; t += 4, next = row) rounded_dots<Bits, Rows, 4>(w, row, x + t * groups, groups, y + t * y_stride, y_stride, next);
    for (; t < tokens; ++t, next = row) rounded_dots<Bits, Rows, 1>(w, row, x + t * groups, groups, y + t * y_stride, y_stride, next);
}

/// y_t = w x_t, x rounded: what y_t is does not depend on the tokens beside it.
template <std::size_t Bits>
void rounded_product(cpu_executor const& at, packed_matrix const& w, rows<float const> x, rows<float> y) {
    constexpr std::size_t rows_at_once = 4;
    std::size_t const out = y.width, groups = ceil_div(w.columns, rounded_group<Bits>::columns);
    temporaries memory(at);
    auto* const rounded = memory.array<rounded_group<Bits>>(x.size * groups);
    for (std::size_t t = 0; t < x.size; ++t) round_row<Bits>(x[t], w.columns, rounded + t * groups);
    std::size_t const run = ceil_div(max(1, 65536 / max(1, w.row_bytes)), rows_at_once) * rows_at_once;
    parallel(at, ceil_div(out, run), [=](cpu_executor const&, std::size_t task) {
        std::size_t r = task * run;
        std::size_t const last = min(out, r + run);
        for (; r + rows_at_once <= last; r += rows_at_once)
            rounded_dots_of_all<Bits, rows_at_once>(w, r, rounded, groups, y.data + r, y.stride, x.size, r + 2 * rows_at_once <= out ? r + rows_at_once : r);
        for (; r < last; ++r) rounded_dots_of_all<Bits, 1>(w, r, rounded, groups, y.data + r, y.stride, x.size, r);
    });
}

}  // namespace kernel
}  // namespace GOLDFINCH_TARGET
}  // namespace goldfinch

#endif
