// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <goldfinch/compiled_for.hpp>

#if GOLDFINCH_AVX512_VNNI

#include <cstddef>
#include <cstdint>

#include <goldfinch/backend/simd/kernels/integers.hpp>
#include <goldfinch/backend/simd/kernels/tile.hpp>
#include <goldfinch/backend/simd/kernels/vnni.hpp>

// The products of vnni.hpp with many tokens: outputs are lanes, and a lane has 4 columns of one row, so that weights are transposed, some rows at
// a time.

namespace goldfinch {
inline namespace GOLDFINCH_TARGET {
namespace kernel {

/// Rows and tokens of a tile: as many integer sums as fit in registers.
inline constexpr std::size_t vnni_rows = 32, vnni_tile_tokens = 8;

/// Rounded activations of some tokens: bytes in the order of columns, filled up to whole blocks.
struct rounded_tokens {
    std::int8_t const *high, *low;  // low: of x in two parts
    std::int32_t const* offset;     // offset_of a block
    float const* scale;             // of the integers that are summed
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

/// 16 outputs of an input from o on, of which n are there, as bytes; zeros behind the last one's byte, and of an input that w lacks.
template <std::size_t Bits>
GOLDFINCH_INLINE __m128i outputs_of(transposed_packed_matrix const& w, std::size_t k, std::size_t o, std::size_t n) {
    constexpr std::size_t size = 16 * Bits / 8;
    std::byte filled[size];
    bool const whole = k < w.columns && n >= 16;
    std::byte const* const from = whole ? w.packed(k) + o * Bits / 8 : filled;
    if (!whole) {
        __builtin_memset(filled, 0, size);
        if (k < w.columns) __builtin_memcpy(filled, w.packed(k) + o * Bits / 8, ceil_div(n * Bits, 8));
    }
    if constexpr (Bits == 8) return _mm_loadu_si128(reinterpret_cast<__m128i const*>(from));
    __m128i const pairs = _mm_loadl_epi64(reinterpret_cast<__m128i const*>(from)), nibble = _mm_set1_epi8(0x0f);
    return _mm_unpacklo_epi8(_mm_and_si128(pairs, nibble), _mm_and_si128(_mm_srli_epi16(pairs, 4), nibble));
}

template <std::size_t Bits>
void transpose_weights(transposed_packed_matrix const& w, std::size_t first, std::size_t rows_there, std::uint8_t* to, float* scales) {
    constexpr std::size_t block = detail::quantized_block, ahead = 64;
    std::size_t const blocks = ceil_div(w.columns, block);
    for (std::size_t b = 0; b < blocks; ++b, scales += vnni_rows) {
        for (std::size_t k = b * block; k < (b + 1) * block; k += 4, to += vnni_rows * 4) {
            for (std::size_t i = 0; i < 4; ++i) prefetch_line(w.packed(min(k + i + ahead, w.columns - 1)) + first * Bits / 8);
            for (std::size_t r = 0; r < vnni_rows; r += 16) {
                __m128i row[4];
                for (std::size_t i = 0; i < 4; ++i) row[i] = outputs_of<Bits>(w, k + i, first + r, rows_there - min(r, rows_there));
                __m128i const pairs[4] = {_mm_unpacklo_epi8(row[0], row[1]), _mm_unpacklo_epi8(row[2], row[3]), _mm_unpackhi_epi8(row[0], row[1]),
                                          _mm_unpackhi_epi8(row[2], row[3])};
                auto* const out = reinterpret_cast<__m128i*>(to + r * 4);
                for (std::size_t i = 0; i < 2; ++i) {
                    _mm_storeu_si128(out + 2 * i, _mm_unpacklo_epi16(pairs[2 * i], pairs[2 * i + 1]));
                    _mm_storeu_si128(out + 2 * i + 1, _mm_unpackhi_epi16(pairs[2 * i], pairs[2 * i + 1]));
                }
            }
        }
        for (std::size_t r = 0; r < vnni_rows; r += lanes)
            store(scales + r, r < rows_there ? w.scales(b, first + r, rows_there - r) : broadcast(0));
    }
}

/// y [Tokens, n] for up to vnni_rows transposed rows. The sums in two parts are those of `rounded_dots`.
template <std::size_t Parts, std::size_t Tokens>
void rounded_tile(std::uint8_t const* w, float const* scales, rounded_tokens const& x, float* y, std::size_t y_stride, std::size_t n) {
    constexpr std::size_t block = detail::quantized_block, V = vnni_rows / 16;
    alignas(alignment) float sums[4][Tokens * V][16] = {};  // the first of blocks 0, 4, ...
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
            s[i] = _mm512_add_epi32(Parts == 2 ? _mm512_slli_epi32(s[i], 8) : s[i], _mm512_set1_epi32(x.offset[i / V * x.blocks + b]));
        if constexpr (Parts == 2) add(x.low);
        GOLDFINCH_UNROLL
        for (std::size_t i = 0; i < Tokens * V; ++i) {
            vec const scale = load(scales + i % V * lanes) * broadcast(x.scale[i / V * x.blocks + b]);
            float* const sum = sums[b % 4][i];
            store(sum, multiply_add(vec(_mm512_cvtepi32_ps(s[i])), scale, load(sum)));
        }
    }
    for (std::size_t i = 0; i < Tokens * V; ++i)
        if (i % V * lanes < n)
            store(y + i / V * y_stride + i % V * lanes, (load(sums[0][i]) + load(sums[2][i])) + (load(sums[1][i]) + load(sums[3][i])), n - i % V * lanes);
}

/// y_t = w x_t for many tokens, x rounded to 16 bits in two parts, to 8 in one.
template <std::size_t Bits, std::size_t Parts, class Matrix>
void rounded_many(cpu_executor const& at, Matrix const& w, rows<float const> x, rows<float> y) {
    constexpr std::size_t block = detail::quantized_block;
    std::size_t const blocks = ceil_div(w.columns, block), tokens = x.size, out = y.width;
    temporaries memory(at);
    auto* const high = memory.array<std::int8_t>(tokens * blocks * block);
    auto* const low = memory.array<std::int8_t>(Parts == 2 ? tokens * blocks * block : 0);
    auto* const offset = memory.array<std::int32_t>(tokens * blocks);
    auto* const scale = memory.array<float>(tokens * blocks);
    parallel(at, tokens, [=](cpu_executor const&, std::size_t t) {
        for (std::size_t b = 0; b < blocks; ++b) {
            std::size_t const i = t * blocks + b;
            alignas(alignment) std::int8_t left_out[block];
            std::int8_t* const low_bytes = Parts == 2 ? low + i * block : left_out;
            scale[i] = round_block(x[t] + b * block, w.columns - b * block, high + i * block, low_bytes) * (Parts == 1 ? 256 : 1);
            offset[i] = _mm512_reduce_add_epi32(offset_of<Bits, Parts>(high + i * block, low_bytes));
        }
    });
    rounded_tokens const all{high, low, offset, scale, blocks};
    parallel(at, ceil_div(out, vnni_rows), [=](cpu_executor const& alone, std::size_t task) {
        std::size_t const first = task * vnni_rows, n = min(vnni_rows, out - first);
        temporaries local(alone);
        auto* const transposed = local.array<std::uint8_t>(blocks * block * vnni_rows);
        auto* const scales = local.array<float>(blocks * vnni_rows);
        transpose_weights<Bits>(w, first, n, transposed, scales);
        by_runs<vnni_tile_tokens>(tokens, [&](auto some, std::size_t t) GOLDFINCH_LAMBDA_INLINE {
            rounded_tile<Parts, some.size>(transposed, scales, all.from(t), y[t] + first, y.stride, n);
        });
    });
}

}  // namespace kernel
}  // namespace GOLDFINCH_TARGET
}  // namespace goldfinch

#endif
