// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <type_traits>

#include <goldfinch/backend/simd/kernels/loops.hpp>

// The product that all matrix work comes down to: c [Rows, V vectors] = a b, where elements of a are broadcast and rows of b are
// vectors. a is a block of rows copied to floats in L1; b is a panel of a few vectors a row.
//
//                              panel_width = 2 vectors
//                             +-----------------------+
//                    b, panel |  b[k] b[k]  <- loaded | depth, at most tile_depth a time
//                             |    |    |             |
//          depth              +----|----|-------------+
//       +---------------+     +----v----v-------------+
//     a | a[0][k] -------------> += a[0][k] * b[k]    |
//       | a[1][k] -------------> += a[1][k] * b[k]    | c, tile: tile_rows x 2 vectors of sums, all in registers
//       |  ...  broadcast      |                      | while k runs over the depth
//       +---------------+     +-----------------------+
//       tile_rows rows, tile_stride floats apart
//
// linear: rows of a are output channels, lanes of b are tokens. lora: rows of a are tokens, lanes of b are output channels.

namespace goldfinch {
inline namespace GOLDFINCH_TARGET {
namespace kernel {

/// Rows of a tile: with 2 vectors each they fill the registers but for b and one broadcast.
inline constexpr std::size_t tile_rows = many_registers ? 12 : 6;
/// Depth of a block of a: its 24 KiB (12 KiB) leave room in an L1 of 32 KiB for the panel that streams past.
inline constexpr std::size_t tile_depth = 512;
/// Row stride of a: not a multiple of 4 KiB, or the rows would fight for one set of L1; and room for a vector past the depth.
inline constexpr std::size_t tile_stride = tile_depth + 16;
/// Vectors of a panel.
inline constexpr std::size_t panel_vectors = 2;
inline constexpr std::size_t panel_width = panel_vectors * lanes;

/// A dimension cut in equal blocks of at most tile_depth, a multiple of `lanes` but for the last. At least one block.
struct depth_blocks {
    std::size_t depth, count = max(1, ceil_div(depth, tile_depth));
    std::size_t step = max(lanes, ceil_div(ceil_div(depth, count), lanes) * lanes);

    std::size_t begin(std::size_t i) const { return min(depth, i * step); }
    std::size_t size(std::size_t i) const { return min(depth, begin(i) + step) - begin(i); }
};

/// to = the transpose of from, both lanes x lanes. Interleaving row i with row i + lanes / 2 rotates the bits of (row, column) by
/// one; as many times as a lane number has bits makes (column, row) of it.
inline void transpose(float const* from, std::size_t from_stride, float* to, std::size_t to_stride) {
    vec r[lanes];
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < lanes; ++i) r[i] = load(from + i * from_stride);
    GOLDFINCH_UNROLL
    for (std::size_t bit = 1; bit < lanes; bit *= 2) {
        vec next[lanes];
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

/// Rows of the broadcast operand, as floats tile_stride apart. Missing rows of the tile repeat the last row.
template <class T>
void pack_rows(T const* p, std::size_t stride, std::size_t rows, std::size_t depth, float* a) {
    for (std::size_t r = 0; r < tile_rows; ++r, a += tile_stride) {
        T const* const row = p + min(r, rows - 1) * stride;
        std::size_t k = 0;
        for (; k + lanes <= depth; k += lanes) store(a + k, load(row + k));
        if (k < depth) store(a + k, load(row + k, depth - k));
    }
}

/// The same of columns of a matrix: row r is column r of p, whose rows lie `stride` apart. Missing rows of the tile are zeros.
template <class T>
void pack_rows_transposed(T const* p, std::size_t stride, std::size_t rows, std::size_t depth, float* a) {
    alignas(alignment) float square[lanes * lanes];
    for (std::size_t r = 0; r < tile_rows; r += lanes)
        for (std::size_t k = 0; k < depth; k += lanes) {
            for (std::size_t i = 0; i < lanes; ++i)
                store(square + i * lanes, k + i < depth && r < rows ? load(p + (k + i) * stride + r, rows - r) : broadcast(0));
            transpose(square, lanes, square, lanes);
            for (std::size_t i = 0; i < lanes && r + i < tile_rows; ++i) store(a + (r + i) * tile_stride + k, load(square + i * lanes));
        }
}

/// b [depth, width] = the transpose of `rows` rows of `depth` elements. width: a multiple of lanes; zeros behind the rows.
template <class T>
void pack_transposed(T const* p, std::size_t stride, std::size_t rows, std::size_t depth, float* b, std::size_t width) {
    alignas(alignment) float square[lanes * lanes];
    for (std::size_t r = 0; r < width; r += lanes)
        for (std::size_t k = 0; k < depth; k += lanes) {
            T const* const from = p + r * stride + k;
            std::size_t const n = min(lanes, depth - k);
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
            std::size_t const n = min(lanes, columns - t);
            for (std::size_t i = 0; i < n; ++i) store(y + (t + i) * y_stride + r, load(square + i * lanes), rows - r);
        }
}

template <std::size_t Rows, std::size_t V>
void tile_of(float const* a, float const* b, std::size_t depth, float* c, std::size_t c_stride, bool fresh) {
    vec s[Rows * V];
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < Rows * V; ++i) s[i] = fresh ? broadcast(0) : load(c + i / V * c_stride + i % V * lanes);
    for (std::size_t k = 0; k < depth; ++k, ++a, b += V * lanes) {
        vec const x = load(b), x2 = load(b + (V - 1) * lanes);
        GOLDFINCH_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            vec const w = broadcast(a[r * tile_stride]);
            s[r * V] = multiply_add(w, x, s[r * V]);
            if constexpr (V == 2) s[r * V + 1] = multiply_add(w, x2, s[r * V + 1]);
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
}  // namespace GOLDFINCH_TARGET
}  // namespace goldfinch
