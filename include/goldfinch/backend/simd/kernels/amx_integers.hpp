// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <goldfinch/compiled_for.hpp>

#if GOLDFINCH_AVX512_VNNI

#include <cstddef>
#include <cstdint>

#include <goldfinch/backend/simd/kernels/amx.hpp>
#include <goldfinch/backend/simd/kernels/vnni.hpp>

// Products of packed integers with activations rounded to 16 bits, or to 8 in one part, as in vnni.hpp, in tiles of bytes. A row of a tile is a block:
// for each there is a product with the high bytes of x and one with the low bytes, to the last of which the block's offset is added by loading it as
// what all rows begin with. Blocks have scales, so both leave the tiles after every block, and are added up in floats.
//
// The two products take 32 cycles. For the rest, 16 vectors of each of the two are stored, and loaded again to be scaled, with five vector
// instructions for each pair: about 40 cycles of the vector units, 48 of the loads with those of the tiles, 32 of the stores. So a tile takes as long
// as 1.5 times its products, if the one block's scaling runs beside the next block's products. Weights converted to bf16 would need one product of
// twice the time and no scaling, but would be rounded.

namespace goldfinch {
inline namespace GOLDFINCH_TARGET {
namespace kernel {

/// 16 rows of weights in one block: the bytes u in the order of columns, 4-bit ones too.
struct amx_weights {
    alignas(amx_bytes) std::uint8_t u[amx_rows][amx_bytes];
    float scale[amx_rows];
};

/// 16 tokens in one block: the bytes of q in the order that products want them in, each row four columns of all tokens.
struct amx_activations {
    alignas(amx_bytes) std::int8_t high[16][amx_bytes];
    std::int8_t low[16][amx_bytes];
    std::int32_t offset[16];  // offset_of the block
    float scale[16];          // of the integers that are summed
};

/// y [rows, tokens] = what x and w, tiles of `blocks` blocks, make, and `before`, if that is not nullptr.
template <std::size_t Parts, class Tiles>
void integer_square(Tiles& tiles, amx_weights const* w, amx_activations const* x, std::size_t blocks, float const* before, float* y) {
    constexpr amx_tile<0> high_sums;
    constexpr amx_tile<1> low_sums;
    constexpr amx_tile<2> u;
    constexpr amx_tile<3> high;
    constexpr amx_tile<4> low;
    alignas(alignment) std::int32_t sums[2][amx_rows][16];
    vec s[amx_rows];
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < amx_rows; ++i) s[i] = before == nullptr ? broadcast(0) : load(before + i * 16);
    auto const add = [&](std::size_t b) GOLDFINCH_LAMBDA_INLINE {
        vec const scale = load(x[b].scale);
        GOLDFINCH_UNROLL
        for (std::size_t i = 0; i < amx_rows; ++i) {
            __m512i sum = _mm512_load_si512(sums[0][i]);
            if constexpr (Parts == 2) sum = _mm512_add_epi32(_mm512_slli_epi32(sum, 8), _mm512_load_si512(sums[1][i]));
            s[i] = multiply_add(vec(_mm512_cvtepi32_ps(sum)) * scale, broadcast(w[b].scale[i]), s[i]);
        }
    };
    for (std::size_t b = 0; b < blocks; ++b) {
        tiles.load(u, w[b].u, amx_bytes);
        tiles.load(high, x[b].high, amx_bytes);
        if constexpr (Parts == 2)
            tiles.zero(high_sums);
        else
            tiles.load(high_sums, x[b].offset, 0);
        tiles.add_bytes(high_sums, u, high);
        if constexpr (Parts == 2) {
            tiles.load(low, x[b].low, amx_bytes);
            tiles.load(low_sums, x[b].offset, 0);
            tiles.add_bytes(low_sums, u, low);
        }
        if (b > 0) add(b - 1);
        tiles.store(high_sums, sums[0], amx_bytes);
        if constexpr (Parts == 2) tiles.store(low_sums, sums[1], amx_bytes);
    }
    if (blocks > 0) add(blocks - 1);
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < amx_rows; ++i) store(y + i * 16, s[i]);
}

/// A block of 16 rows of weights, of which n are there, from `row` on; zeros where w has none.
template <std::size_t Bits>
void unpack_block(packed_matrix const& w, std::size_t row, std::size_t n, std::size_t b, amx_weights& to) {
    constexpr std::size_t block_bytes = detail::quantized_block * Bits / 8;
    std::size_t const bytes = min(block_bytes, w.row_bytes - b * block_bytes);
    for (std::size_t r = 0; r < amx_rows; ++r) {
        std::uint16_t scale = 0;
        __m512i u = _mm512_setzero_si512();
        if (r < n) {
            u = _mm512_maskz_loadu_epi8(~std::uint64_t{0} >> (64 - bytes), w.packed(row + r) + b * block_bytes);
            if constexpr (Bits == 4) {
                u = _mm512_cvtepu8_epi16(_mm512_castsi512_si256(u));
                u = _mm512_and_si512(_mm512_or_si512(u, _mm512_slli_epi16(u, 4)), _mm512_set1_epi16(0x0f0f));
            }
            __builtin_memcpy(&scale, w.scale(row + r) + 2 * b, 2);
        }
        _mm512_store_si512(to.u[r], u);
        to.scale[r] = detail::bits_as<float>(std::uint32_t{scale} << 16);
    }
}
template <std::size_t Bits>
void unpack_block(transposed_packed_matrix const& w, std::size_t row, std::size_t n, std::size_t b, amx_weights& to) {
    for (std::size_t k = 0; k < amx_bytes; k += 16) {
        __m128i x[16];
        for (std::size_t i = 0; i < 16; ++i) x[i] = outputs_of<Bits>(w, b * detail::quantized_block + k + i, row, n);
        for (std::size_t round = 0; round < 4; ++round) {  // each brings those together that were half of all apart
            __m128i const from[16] = {x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7], x[8], x[9], x[10], x[11], x[12], x[13], x[14], x[15]};
            for (std::size_t i = 0; i < 8; ++i) x[2 * i] = _mm_unpacklo_epi8(from[i], from[i + 8]), x[2 * i + 1] = _mm_unpackhi_epi8(from[i], from[i + 8]);
        }
        for (std::size_t r = 0; r < amx_rows; ++r) _mm_store_si128(reinterpret_cast<__m128i*>(to.u[r] + k), x[r]);
    }
    store(to.scale, w.scales(b, row, n));
}

/// Asks for some blocks of rows [row, end).
template <std::size_t Bits>
void ask_blocks(packed_matrix const& w, std::size_t row, std::size_t end, std::size_t b, std::size_t blocks) {
    constexpr std::size_t block_bytes = detail::quantized_block * Bits / 8;
    for (std::size_t r = row; r < end; ++r) {
        prefetch(w.packed(r) + b * block_bytes, blocks * block_bytes);
        prefetch(w.scale(r) + b * 2, 1);
    }
}
template <std::size_t Bits>
void ask_blocks(transposed_packed_matrix const& w, std::size_t row, std::size_t end, std::size_t b, std::size_t blocks) {
    if (row >= end) return;
    // A line has more outputs than a tile has rows: the share of those is one of the inputs, too.
    std::size_t const inputs = blocks * detail::quantized_block / amx_rows, first = b * detail::quantized_block + row % amx_rows * inputs;
    for (std::size_t k = first; k < min(w.columns, first + (end - row) * inputs); ++k) prefetch(w.packed(k) + row / amx_rows * amx_rows * Bits / 8, 1);
}

/// A product y_t = w x_t in tiles: `panels` of 16 tokens, `tiles` of 16 rows, and `depths` of at most 8 blocks, in which a panel is 17 KiB and stays
/// in L1 for one tile of rows after another.
template <std::size_t Bits, std::size_t Parts, class Matrix>
struct integer_product {
    using packed_type = amx_activations;
    static constexpr std::size_t longest_group = 16, most_blocks = 8, block = detail::quantized_block, square = amx_rows * 16;

    Matrix w;
    std::size_t out, tokens;
    std::size_t panels = ceil_div(tokens, 16), tiles = ceil_div(out, amx_rows);
    std::size_t blocks = ceil_div(w.columns, block), depths = max(1, ceil_div(blocks, most_blocks));

    std::size_t blocks_of(std::size_t d) const { return min(blocks, (d + 1) * most_blocks) - d * most_blocks; }
    std::size_t packed_at(std::size_t d, std::size_t p) const { return d * most_blocks * panels + p * blocks_of(d); }

    void pack(rows<float const> const& x, std::size_t d, std::size_t p, amx_activations* packed) const {
        amx_activations* to = packed + packed_at(d, p);
        alignas(alignment) std::int8_t high[16][block], low[16][block];
        for (std::size_t i = 0; i < blocks_of(d); ++i, ++to) {
            std::size_t const k = (d * most_blocks + i) * block;
            for (std::size_t j = 0; j < 16; ++j) {
                std::size_t const t = p * 16 + j;
                to->scale[j] = round_block(x[min(t, tokens - 1)] + k, t < tokens ? w.columns - k : 0, high[j], low[j]) * (Parts == 1 ? 256 : 1);
                to->offset[j] = _mm512_reduce_add_epi32(offset_of<Bits, Parts>(high[j], low[j]));
            }
            transpose(reinterpret_cast<float const*>(high), 16, reinterpret_cast<float*>(to->high), 16);
            if constexpr (Parts == 2) transpose(reinterpret_cast<float const*>(low), 16, reinterpret_cast<float*>(to->low), 16);
        }
    }
    /// Weights of a tile of rows; zeros where w has none.
    void unpack(std::size_t i, std::size_t d, amx_weights* to) const {
        std::size_t const row = i * amx_rows;
        for (std::size_t b = 0; b < blocks_of(d); ++b) unpack_block<Bits>(w, row, min(amx_rows, out - row), d * most_blocks + b, to[b]);
    }
    /// Asks for one of equal shares of a tile's rows in a depth.
    void ask(std::size_t i, std::size_t d, std::size_t index, std::size_t shares) const {
        std::size_t const size = ceil_div(amx_rows, shares), row = i * amx_rows + index * size;
        ask_blocks<Bits>(w, row, min(out, min(row + size, (i + 1) * amx_rows)), d * most_blocks, most_blocks);
    }
    template <class Tiles>
    void run(cpu_executor const& alone, amx_tasks const& tasks, std::size_t task, amx_activations const* packed, rows<float> const& y,
             std::size_t threads) const {
        std::size_t const first = task % tasks.groups * tasks.group, n = min(tasks.group, tiles - first);
        std::size_t const first_panel = task / tasks.groups * tasks.panels, n_panels = min(tasks.panels, panels - first_panel);
        temporaries memory(alone);
        float* const sums = memory.array<float>(depths > 1 ? n_panels * n * square : 0);
        amx_weights* const unpacked = memory.array<amx_weights>(n * most_blocks);
        alignas(alignment) float whole[square];
        Tiles registers;
        for (std::size_t d = 0; d < depths; ++d) {
            bool const last = d + 1 == depths;
            for (std::size_t i = 0; i < n; ++i) unpack(first + i, d, unpacked + i * most_blocks);
            for (std::size_t p = 0; p < n_panels; ++p)
                for (std::size_t i = 0; i < n; ++i) {
                    std::size_t const t = (first_panel + p) * 16, row = (first + i) * amx_rows;
                    // Meanwhile, these rows' next columns, or the first ones of the rows that this thread is likely to get next.
                    last ? ask(first + i + threads * tasks.group, 0, p, n_panels) : ask(first + i, d + 1, p, n_panels);
                    float* const sum = sums + (p * n + i) * square;
                    integer_square<Parts>(registers, unpacked + i * most_blocks, packed + packed_at(d, first_panel + p), blocks_of(d),
                                   d == 0 ? nullptr : sum, last ? whole : sum);
                    if (last) store_transposed(whole, 16, min(amx_rows, out - row), min(16, tokens - t), y[t] + row, y.stride);
                }
        }
    }
};

/// y_t = w x_t, x rounded to 16 bits of the largest in each block, or to 8 in one part. Each sum runs over the blocks in order, wherever its row and token are.
template <class Tiles, std::size_t Bits, std::size_t Parts, class Matrix>
void product_of_integers(cpu_executor const& at, Matrix const& w, rows<float const> const& x, rows<float> const& y) {
    by_tiles<Tiles>(at, x, y, [&](std::size_t n) { return integer_product<Bits, Parts, Matrix>{w, y.width, n}; });
}

}  // namespace kernel
}  // namespace GOLDFINCH_TARGET
}  // namespace goldfinch

#endif
