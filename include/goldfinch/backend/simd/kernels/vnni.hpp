// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <goldfinch/compiled_for.hpp>

#if GOLDFINCH_AVX512_VNNI

#include <cstddef>
#include <cstdint>

#include <goldfinch/backend/simd/kernels/integers.hpp>
#include <goldfinch/backend/simd/kernels/tile.hpp>

// Products of packed integers with activations rounded to 16 bits, in integer arithmetic (VNNI): bytes of weights u times the high and the low bytes
// of q = 256 high + low, where x = q * scale in each block of 64.
//
//     sum (u - zero) x  =  scale * ((sum u high) * 256  +  sum u low  -  zero * sum q)
//
// The sums of a block are exact in 32 bits. 4-bit weights are two to a byte, so that even columns and odd ones are multiplied apart.

namespace goldfinch {
inline namespace GOLDFINCH_TARGET {
namespace kernel {

/// q of a block of x, of which there are n elements and then zeros. Returns the scale: NaN where x is not finite.
inline float round_block(float const* x, std::size_t n, std::int8_t* high, std::int8_t* low) {
    constexpr std::size_t vectors = detail::quantized_block / 16;
    constexpr float largest_q = 127 * 256 + 127;
    vec v[vectors];
    __m512i most = _mm512_setzero_si512();
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < vectors; ++i) {
        v[i] = i * lanes < n ? load(x + i * lanes, n - i * lanes) : broadcast(0);
        most = _mm512_max_epi32(most, _mm512_and_si512(_mm512_castps_si512(v[i]), _mm512_set1_epi32(0x7fffffff)));
    }
    int const bits = _mm512_reduce_max_epi32(most);  // of magnitudes, which are in the order of their bits
    bool const finite = bits < 0x7f800000, usable = finite && bits > 0x00ffffff;  // not so small that the inverse is infinite
    float const magnitude = detail::bits_as<float>(static_cast<std::uint32_t>(bits));
    vec const inverse = broadcast(usable ? largest_q / magnitude : 0);
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < vectors; ++i) {
        __m512i const q = _mm512_maskz_cvtps_epi32(static_cast<__mmask16>(usable ? 0xffff : 0), v[i] * inverse);
        __m512i const h = _mm512_srai_epi32(_mm512_add_epi32(q, _mm512_set1_epi32(128)), 8);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(high) + i, _mm512_cvtepi32_epi8(h));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(low) + i, _mm512_cvtepi32_epi8(_mm512_sub_epi32(q, _mm512_slli_epi32(h, 8))));
    }
    return usable ? magnitude / largest_q : finite ? 0 : detail::bits_as<float>(0x7fc00000u);
}

/// -zero * sum q of each lane's columns.
template <std::size_t Bits>
__m512i offset_of(std::int8_t const* high, std::int8_t const* low) {
    __m512i const zero = _mm512_set1_epi8(Bits == 8 ? -128 : 8);  // as an unsigned byte
    __m512i const h = _mm512_dpbusd_epi32(_mm512_setzero_si512(), zero, _mm512_loadu_si512(high));
    __m512i const l = _mm512_dpbusd_epi32(_mm512_setzero_si512(), zero, _mm512_loadu_si512(low));
    return _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_add_epi32(_mm512_slli_epi32(h, 8), l));
}

/// Activations rounded to 16 bits, of one group of columns: as many as a vector of packed weights has.
template <std::size_t Bits>
struct rounded_group {
    static constexpr std::size_t columns = integers<Bits>::columns, parts = 8 / Bits;  // of a byte
    alignas(alignment) std::int8_t high[parts][64];  // the bytes that meet the lowest bits of a byte of weights, then the highest
    std::int8_t low[parts][64];
    std::int32_t offset[16];  // -zero * sum q, of the columns of each lane
    float scale[16];          // of each lane's block
};

/// Rounds a row of x to groups; the last is filled up with zeros.
template <std::size_t Bits>
void round_row(float const* x, std::size_t n, rounded_group<Bits>* to) {
    using group = rounded_group<Bits>;
    constexpr std::size_t block = detail::quantized_block, blocks = group::columns / block;
    for (std::size_t first = 0; first < n; first += group::columns, ++to) {
        __m512i offset = _mm512_setzero_si512();
        for (std::size_t b = 0; b < blocks; ++b) {
            std::size_t const begin = first + b * block;
            std::int8_t bytes[2][block];
            float const scale = round_block(x + min(begin, n), begin < n ? n - begin : 0, bytes[0], bytes[1]);
            for (std::size_t i = 0; i < 16 / blocks; ++i) to->scale[b * 16 / blocks + i] = scale;
            for (std::size_t k = 0; k < 2; ++k) {
                auto* const parts_of = k == 0 ? to->high : to->low;
                if constexpr (Bits == 8) {
                    copy(bytes[k], block, parts_of[0]);
                } else {
                    for (std::size_t i = 0; i < block; i += 16) {
                        __m128i const all = _mm_loadu_si128(reinterpret_cast<__m128i const*>(bytes[k] + i));
                        __m128i const apart = _mm_shuffle_epi8(all, _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15));
                        std::size_t const at = (b * block + i) / 2;
                        _mm_storel_epi64(reinterpret_cast<__m128i*>(parts_of[0] + at), apart);
                        _mm_storel_epi64(reinterpret_cast<__m128i*>(parts_of[1] + at), _mm_unpackhi_epi64(apart, apart));
                    }
                }
            }
        }
        for (std::size_t p = 0; p < group::parts; ++p) offset = _mm512_add_epi32(offset, offset_of<Bits>(to->high[p], to->low[p]));
        _mm512_store_si512(to->offset, offset);
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

// Many tokens: outputs are lanes, and a lane has 4 columns of one row, so that weights are transposed, some rows at a time.

/// Rows of a tile, and tokens: as many sums, of integers and of floats, as fit in registers. From that many tokens on transposing pays.
inline constexpr std::size_t vnni_rows = 32, vnni_tokens = 6;

/// Rounded activations of some tokens: bytes in the order of columns, filled up to whole blocks.
struct rounded_tokens {
    std::int8_t const *high, *low;
    std::int32_t const* offset;  // -zero * sum q of a block
    float const* scale;
    std::size_t blocks;

    GOLDFINCH_INLINE rounded_tokens from(std::size_t t) const {
        std::size_t const at = t * blocks, bytes = at * detail::quantized_block;
        return {high + bytes, low + bytes, offset + at, scale + at, blocks};
    }
};

/// Bytes of weights [blocks, 16, vnni_rows, 4] and scales [blocks, vnni_rows] of rows [first, first + vnni_rows); zeros for rows that w lacks.
template <std::size_t Bits>
void transpose_weights(packed_matrix const& w, std::size_t first, std::size_t rows_there, std::uint8_t* to, float* scales) {
    constexpr std::size_t block = detail::quantized_block, bytes = block * Bits / 8;
    alignas(alignment) std::uint8_t square[16 * block];
    std::size_t const blocks = ceil_div(w.columns, block);
    for (std::size_t b = 0; b < blocks; ++b, to += 16 * vnni_rows * 4)
        for (std::size_t r = 0; r < vnni_rows; r += 16) {
            for (std::size_t i = 0; i < 16; ++i) {
                bool const there = r + i < rows_there;
                std::size_t const n = there ? min(bytes, w.row_bytes - b * bytes) : 0;
                auto const* const from = reinterpret_cast<std::uint8_t const*>(w.packed(there ? first + r + i : first)) + b * bytes;
                prefetch_line(from + 512);
                __m512i row = _mm512_maskz_loadu_epi8(n == 0 ? 0 : ~std::uint64_t{0} >> (64 - n), from);
                if constexpr (Bits == 4) {
                    row = _mm512_cvtepu8_epi16(_mm512_castsi512_si256(row));
                    row = _mm512_and_si512(_mm512_or_si512(row, _mm512_slli_epi16(row, 4)), _mm512_set1_epi16(0x0f0f));
                }
                _mm512_store_si512(square + i * block, row);
                std::uint16_t scale = 0;
                if (there) __builtin_memcpy(&scale, w.scale(first + r + i) + 2 * b, 2);
                scales[b * vnni_rows + r + i] = detail::bits_as<float>(std::uint32_t{scale} << 16);
            }
            transpose(reinterpret_cast<float const*>(square), 16, reinterpret_cast<float*>(to) + r, vnni_rows);
        }
}

/// y [Tokens, n] for up to vnni_rows transposed rows. Each sum runs over the blocks in order.
template <std::size_t Tokens>
void rounded_tile(std::uint8_t const* w, float const* scales, rounded_tokens const& x, float* y, std::size_t y_stride, std::size_t n) {
    constexpr std::size_t block = detail::quantized_block, V = vnni_rows / 16;
    vec sums[Tokens * V];
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < Tokens * V; ++i) sums[i] = broadcast(0);
    for (std::size_t b = 0; b < x.blocks; ++b, w += 16 * vnni_rows * 4, scales += vnni_rows) {
        __m512i s[Tokens * V];
        GOLDFINCH_UNROLL
        for (std::size_t i = 0; i < Tokens * V; ++i) s[i] = _mm512_setzero_si512();
        auto const add = [&](std::int8_t const* bytes) GOLDFINCH_LAMBDA_INLINE {
            for (std::size_t k = 0; k < 16; ++k) {
                __m512i row[V];
                GOLDFINCH_UNROLL
                for (std::size_t v = 0; v < V; ++v) row[v] = _mm512_loadu_si512(w + (k * V + v) * 64);
                GOLDFINCH_UNROLL
                for (std::size_t t = 0; t < Tokens; ++t) {
                    std::int32_t four;
                    __builtin_memcpy(&four, bytes + (t * x.blocks + b) * block + 4 * k, 4);
                    __m512i const all = _mm512_set1_epi32(four);
                    GOLDFINCH_UNROLL
                    for (std::size_t v = 0; v < V; ++v) s[t * V + v] = _mm512_dpbusd_epi32(s[t * V + v], row[v], all);
                }
            }
        };
        add(x.high);
        GOLDFINCH_UNROLL
        for (std::size_t i = 0; i < Tokens * V; ++i)
            s[i] = _mm512_add_epi32(_mm512_slli_epi32(s[i], 8), _mm512_set1_epi32(x.offset[i / V * x.blocks + b]));
        add(x.low);
        GOLDFINCH_UNROLL
        for (std::size_t i = 0; i < Tokens * V; ++i) {
            vec const scale = load(scales + i % V * lanes) * broadcast(x.scale[i / V * x.blocks + b]);
            sums[i] = multiply_add(vec(_mm512_cvtepi32_ps(s[i])), scale, sums[i]);
        }
    }
    for (std::size_t i = 0; i < Tokens * V; ++i)
        if (i % V * lanes < n) store(y + i / V * y_stride + i % V * lanes, sums[i], n - i % V * lanes);
}

/// y_t = w x_t for many tokens, x rounded.
template <std::size_t Bits>
void rounded_many(cpu_executor const& at, packed_matrix const& w, rows<float const> x, rows<float> y) {
    constexpr std::size_t block = detail::quantized_block;
    std::size_t const blocks = ceil_div(w.columns, block), tokens = x.size, out = y.width;
    temporaries memory(at);
    auto* const high = memory.array<std::int8_t>(tokens * blocks * block);
    auto* const low = memory.array<std::int8_t>(tokens * blocks * block);
    auto* const offset = memory.array<std::int32_t>(tokens * blocks);
    auto* const scale = memory.array<float>(tokens * blocks);
    parallel(at, tokens, [=](cpu_executor const&, std::size_t t) {
        for (std::size_t b = 0; b < blocks; ++b) {
            std::size_t const i = t * blocks + b;
            scale[i] = round_block(x[t] + b * block, w.columns - b * block, high + i * block, low + i * block);
            offset[i] = _mm512_reduce_add_epi32(offset_of<Bits>(high + i * block, low + i * block));
        }
    });
    rounded_tokens const all{high, low, offset, scale, blocks};
    parallel(at, ceil_div(out, vnni_rows), [=](cpu_executor const& alone, std::size_t task) {
        std::size_t const first = task * vnni_rows, n = min(vnni_rows, out - first);
        temporaries local(alone);
        auto* const transposed = local.array<std::uint8_t>(blocks * block * vnni_rows);
        auto* const scales = local.array<float>(blocks * vnni_rows);
        transpose_weights<Bits>(w, first, n, transposed, scales);
        for (std::size_t t = 0; t < tokens;) {
            // Few sums wait for each other: 8 tokens are twice 4.
            std::size_t const left = tokens - t, some = left >= 6 && left != 8 ? 6 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
            auto const tile = some == 6 ? rounded_tile<6> : some == 4 ? rounded_tile<4> : some == 2 ? rounded_tile<2> : rounded_tile<1>;
            tile(transposed, scales, all.from(t), y[t] + first, y.stride, n);
            t += some;
        }
    });
}

}  // namespace kernel
}  // namespace GOLDFINCH_TARGET
}  // namespace goldfinch

#endif
