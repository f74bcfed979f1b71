// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include <goldfinch/backend/simd/vec.hpp>

// The product that all matrix work comes down to: c [Rows, V vectors] = a b, where elements of a are broadcast and rows of b are
// vectors. a is a block of rows copied to floats in L1; b is a panel of a few vectors a row.

namespace goldfinch {
inline namespace GOLDFINCH_ISA {
namespace kernel {

#if defined(__AVX512F__) || defined(__aarch64__)
inline constexpr bool many_registers = true;  // 32
#else
inline constexpr bool many_registers = false;  // 16
#endif

/// Rows of a tile: with 2 vectors each they fill the registers but for b and one broadcast.
inline constexpr std::size_t tile_rows = many_registers ? 12 : 6;
/// Depth of a block of a: its 24 KiB (12 KiB) leave room in an L1 of 32 KiB for the panel that streams past.
inline constexpr std::size_t tile_depth = 512;
/// Row stride of a: not a multiple of 4 KiB, or the rows would fight for one set of L1; and room for a vector past the depth.
inline constexpr std::size_t tile_stride = tile_depth + 16;
/// Vectors of a panel.
inline constexpr std::size_t panel_vectors = 2;
inline constexpr std::size_t panel_width = panel_vectors * lanes;

constexpr std::size_t ceil_div(std::size_t a, std::size_t b) { return (a + b - 1) / b; }

/// A dimension cut in equal blocks of at most tile_depth, a multiple of `lanes` but for the last. At least one block.
struct depth_blocks {
    std::size_t depth, count = std::max<std::size_t>(1, ceil_div(depth, tile_depth));
    std::size_t step = std::max(lanes, ceil_div(ceil_div(depth, count), lanes) * lanes);

    std::size_t begin(std::size_t i) const { return std::min(depth, i * step); }
    std::size_t size(std::size_t i) const { return std::min(depth, begin(i) + step) - begin(i); }
};

/// In place: the elements of a and b in turn, a from their first halves, b from their second.
GOLDFINCH_INLINE void interleave(batch& a, batch& b) {
#if defined(__AVX512F__)
    __m512i const first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    __m512i const second = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    batch const low(_mm512_permutex2var_ps(a, first, b));
    b = batch(_mm512_permutex2var_ps(a, second, b));
    a = low;
#elif defined(__AVX__)
    __m256 const low = _mm256_unpacklo_ps(a, b), high = _mm256_unpackhi_ps(a, b);
    a = batch(_mm256_permute2f128_ps(low, high, 0x20));
    b = batch(_mm256_permute2f128_ps(low, high, 0x31));
#elif defined(__SSE2__) || defined(__aarch64__)
    batch const low = xsimd::zip_lo(a, b);
    b = xsimd::zip_hi(a, b);
    a = low;
#else
    float in[2][lanes], out[2 * lanes];
    store(in[0], a), store(in[1], b);
    for (std::size_t i = 0; i < lanes; ++i) out[2 * i] = in[0][i], out[2 * i + 1] = in[1][i];
    a = load(out), b = load(out + lanes);
#endif
}

/// to = the transpose of from, both lanes x lanes. Interleaving row i with row i + lanes / 2 rotates the bits of (row, column) by
/// one; as many times as a lane number has bits makes (column, row) of it.
inline void transpose(float const* from, std::size_t from_stride, float* to, std::size_t to_stride) {
    batch r[lanes];
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < lanes; ++i) r[i] = load(from + i * from_stride);
    GOLDFINCH_UNROLL
    for (std::size_t bit = 1; bit < lanes; bit *= 2) {
        batch next[lanes];
        GOLDFINCH_UNROLL
        for (std::size_t i = 0; i < lanes / 2; ++i) {
            next[2 * i] = r[i], next[2 * i + 1] = r[i + lanes / 2];
            interleave(next[2 * i], next[2 * i + 1]);
        }
        GOLDFINCH_UNROLL
        for (std::size_t i = 0; i < lanes; ++i) r[i] = next[i];
    }
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < lanes; ++i) store(to + i * to_stride, r[i]);
}

/// Rows of the broadcast operand, as floats tile_stride apart. Behind the last row it stands again, up to a whole tile.
template <class T>
void pack_rows(T const* p, std::size_t stride, std::size_t rows, std::size_t depth, float* a) {
    for (std::size_t r = 0; r < tile_rows; ++r, a += tile_stride) {
        T const* const row = p + std::min(r, rows - 1) * stride;
        std::size_t k = 0;
        for (; k + lanes <= depth; k += lanes) store(a + k, load(row + k));
        if (k < depth) store(a + k, load(row + k, depth - k));
    }
}

/// b [depth, width] = the transpose of `rows` rows of `depth` elements. width: a multiple of lanes; zeros behind the rows.
template <class T>
void pack_transposed(T const* p, std::size_t stride, std::size_t rows, std::size_t depth, float* b, std::size_t width) {
    alignas(alignment) float square[lanes * lanes];
    for (std::size_t r = 0; r < width; r += lanes)
        for (std::size_t k = 0; k < depth; k += lanes) {
            T const* const from = p + r * stride + k;
            std::size_t const n = std::min(lanes, depth - k);
            float* const to = b + k * width + r;
            if constexpr (std::is_same_v<T, float>) {
                if (r + lanes <= rows && n == lanes) {
                    transpose(from, stride, to, width);
                    continue;
                }
            }
            for (std::size_t i = 0; i < lanes; ++i) store(square + i * lanes, r + i < rows ? load(from + i * stride, n) : broadcast(0));
            if (n == lanes) {
                transpose(square, lanes, to, width);
            } else {
                transpose(square, lanes, square, lanes);
                for (std::size_t i = 0; i < n; ++i) store(to + i * width, load(square + i * lanes));
            }
        }
}

/// b [depth, width] = columns of a row-major matrix, as floats; zeros behind `columns`.
template <class T>
void pack_columns(T const* p, std::size_t stride, std::size_t columns, std::size_t depth, float* b, std::size_t width) {
    for (std::size_t k = 0; k < depth; ++k, p += stride, b += width)
        for (std::size_t c = 0; c < width; c += lanes) store(b + c, c < columns ? load(p + c, columns - c) : broadcast(0));
}

/// y [columns, rows] = the transpose of c [rows, columns]. Reads c up to multiples of lanes.
inline void store_transposed(float const* c, std::size_t c_stride, std::size_t rows, std::size_t columns, float* y, std::size_t y_stride) {
    alignas(alignment) float square[lanes * lanes];
    for (std::size_t r = 0; r < rows; r += lanes)
        for (std::size_t t = 0; t < columns; t += lanes) {
            transpose(c + r * c_stride + t, c_stride, square, lanes);
            std::size_t const n = std::min(lanes, columns - t);
            for (std::size_t i = 0; i < n; ++i) store(y + (t + i) * y_stride + r, load(square + i * lanes), rows - r);
        }
}

template <std::size_t Rows, std::size_t V>
void tile_of(float const* a, float const* b, std::size_t depth, float* c, std::size_t c_stride, bool fresh) {
    batch s[Rows * V];
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < Rows * V; ++i) s[i] = fresh ? broadcast(0) : load(c + i / V * c_stride + i % V * lanes);
    for (std::size_t k = 0; k < depth; ++k, ++a, b += V * lanes) {
        batch const x = load(b), x2 = load(b + (V - 1) * lanes);
        GOLDFINCH_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            batch const w = broadcast(a[r * tile_stride]);
            s[r * V] = xsimd::fma(w, x, s[r * V]);
            if constexpr (V == 2) s[r * V + 1] = xsimd::fma(w, x2, s[r * V + 1]);
        }
    }
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < Rows * V; ++i) store(c + i / V * c_stride + i % V * lanes, s[i]);
}

/// c [rows, width] (+)= a b for a panel b [depth, width], width 1 or 2 vectors; `fresh` sets instead of adding. Every sum runs over
/// the depth in order, whatever the rows and the width. It may write up to a whole tile of rows.
inline void tile(std::size_t rows, std::size_t width, float const* a, float const* b, std::size_t depth, float* c, std::size_t c_stride, bool fresh) {
    constexpr std::size_t few = tile_rows / 3;  // a few rows left over should not cost a whole tile
    if (rows <= few)
        (width > lanes ? tile_of<few, 2> : tile_of<few, 1>)(a, b, depth, c, c_stride, fresh);
    else
        (width > lanes ? tile_of<tile_rows, 2> : tile_of<tile_rows, 1>)(a, b, depth, c, c_stride, fresh);
}

}  // namespace kernel
}  // namespace GOLDFINCH_ISA
}  // namespace goldfinch
