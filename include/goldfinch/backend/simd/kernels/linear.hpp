// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <goldfinch/backend/simd/kernels/amx.hpp>
#include <goldfinch/backend/simd/kernels/tile.hpp>

namespace goldfinch {
inline namespace GOLDFINCH_TARGET {
namespace kernel {

/// Tokens that are multiplied with rows of weights at once, as sums in registers go.
inline constexpr std::size_t tokens_at_once = many_registers ? 4 : 2;

/// y [Tokens, Rows] = x w^T for consecutive rows of w. Each sum runs over the depth by vectors, whatever Rows and Tokens are.
template <std::size_t Rows, std::size_t Tokens, class Weight>
void dots(Weight const* w, std::size_t in, float const* x, std::size_t x_stride, float* y, std::size_t y_stride, Weight const* next) {
    constexpr std::size_t a_line = 64 / sizeof(Weight);
    vec s[Rows * Tokens];
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < Rows * Tokens; ++i) s[i] = broadcast(0);
    std::size_t k = 0;
    for (; k + lanes <= in; k += lanes) {
        vec xs[Tokens];
        GOLDFINCH_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) xs[t] = load(x + t * x_stride + k);
        GOLDFINCH_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            vec const row = load(w + r * in + k);
            if (k % a_line == 0) prefetch_weights(next + r * in + k, w + r * in + k);
            GOLDFINCH_UNROLL
            for (std::size_t t = 0; t < Tokens; ++t) s[r * Tokens + t] = multiply_add(row, xs[t], s[r * Tokens + t]);
        }
    }
    // The rest is no matter of speed: a plain loop over memory is a third of the code to compile.
    alignas(alignment) float ends[Rows * Tokens * lanes];
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < Rows * Tokens; ++i) store(ends + i * lanes, s[i]);
    for (std::size_t i = 0; k < in && i < Rows * Tokens; ++i)
        store(ends + i * lanes,
              multiply_add(load(w + i / Tokens * in + k, in - k), load(x + i % Tokens * x_stride + k, in - k), load(ends + i * lanes)));
    float totals[Rows * Tokens];
    sums(ends, Rows * Tokens, totals);
    for (std::size_t i = 0; i < Rows * Tokens; ++i) y[i % Tokens * y_stride + i / Tokens] = totals[i];
}

/// All tokens for consecutive rows, which stay in L1 meanwhile.
template <std::size_t Rows, class Weight>
void dots_of_all(Weight const* w, std::size_t in, float const* x, std::size_t x_stride, float* y, std::size_t y_stride, std::size_t tokens,
                 Weight const* next) {
    by_runs<tokens_at_once>(tokens, [&](auto run, std::size_t t) GOLDFINCH_LAMBDA_INLINE {
        dots<Rows, run.size>(w, in, x + t * x_stride, x_stride, y + t * y_stride, y_stride, t == 0 ? next : w);
    });
}

/// Tokens of a panel: x as vectors, the same one of every token side by side. Rows of x lie where rows of weights would push them out of L1.
inline constexpr std::size_t panel_tokens = 8;

/// Vectors [first, last) of panel_tokens rows of x.
inline void pack_panel(float const* x, std::size_t x_stride, std::size_t first, std::size_t last, float* panel) {
    for (std::size_t v = first; v < last; ++v)
        for (std::size_t t = 0; t < panel_tokens; ++t) store(panel + (v * panel_tokens + t) * lanes, load(x + t * x_stride + v * lanes));
}

/// A panel of x for consecutive rows, a multiple of 3. The panel goes by blocks of the depth, which stay in L1; sums_at keeps [rows, panel_tokens]
/// vectors meanwhile. The sums are those of `dots`.
template <class Weight>
void dots_of_panel(Weight const* w, std::size_t n_rows, std::size_t in, float const* panel, float const* x, std::size_t x_stride, float* y,
                   std::size_t y_stride, float* sums_at, Weight const* next) {
    constexpr std::size_t Rows = 3, Tokens = panel_tokens, S = Rows * Tokens, a_line = 64 / sizeof(Weight);
    std::size_t const whole = in / lanes * lanes;
    for (std::size_t first = 0; first < whole; first += tile_depth) {
        std::size_t const end = min(whole, first + tile_depth);
        for (std::size_t r = 0; r < n_rows; r += Rows) {
            float* const at = sums_at + r * Tokens * lanes;
            vec s[S];
            GOLDFINCH_UNROLL
            for (std::size_t i = 0; i < S; ++i) s[i] = first == 0 ? broadcast(0) : load(at + i * lanes);
            for (std::size_t k = first; k < end; k += lanes) {
                vec row[Rows];
                GOLDFINCH_UNROLL
                for (std::size_t j = 0; j < Rows; ++j) {
                    row[j] = load(w + (r + j) * in + k);
                    if (k % a_line == 0) prefetch_weights(next + (r + j) * in + k, w + (r + j) * in + k);
                }
                GOLDFINCH_UNROLL
                for (std::size_t t = 0; t < Tokens; ++t) {
                    vec const xt = as_written(load(panel + k * Tokens + t * lanes));  // in a register: compilers would load it for every row
                    GOLDFINCH_UNROLL
                    for (std::size_t j = 0; j < Rows; ++j) s[j * Tokens + t] = multiply_add(row[j], xt, s[j * Tokens + t]);
                }
            }
            GOLDFINCH_UNROLL
            for (std::size_t i = 0; i < S; ++i) store(at + i * lanes, s[i]);
        }
    }
    for (std::size_t i = 0; whole < in && i < n_rows * Tokens; ++i) {
        vec const so_far = whole > 0 ? load(sums_at + i * lanes) : broadcast(0);
        store(sums_at + i * lanes,
              multiply_add(load(w + i / Tokens * in + whole, in - whole), load(x + i % Tokens * x_stride + whole, in - whole), so_far));
    }
    for (std::size_t r = 0; r < n_rows; r += Rows) {
        float totals[S];
        sums(sums_at + r * Tokens * lanes, S, totals);
        for (std::size_t i = 0; i < S; ++i) y[i % Tokens * y_stride + r + i / Tokens] = totals[i];
    }
}

template <class Weight>
void linear_few(cpu_executor const& at, Weight const* w, rows<float const> const& tokens_x, rows<float> const& tokens_y) {
    std::size_t const out = tokens_y.width, in = tokens_x.width, tokens = tokens_x.size, x_stride = tokens_x.stride, y_stride = tokens_y.stride;
    float const* const x = tokens_x.data;
    float* const y = tokens_y.data;
    constexpr std::size_t rows_at_once = many_registers ? 6 : 4;
    // 64 KiB of weights a task: microseconds, so that handing out tasks costs little and the last one keeps nobody waiting.
    std::size_t const row_bytes = max(1, in * sizeof(Weight));
    std::size_t const rows = ceil_div(max(1, 65536 / row_bytes), rows_at_once) * rows_at_once;
    std::size_t const panels = many_registers ? tokens / panel_tokens : 0, vectors = in / lanes;
    temporaries memory(at);
    float* const packed = memory.array<float>(panels * panel_tokens * vectors * lanes);
    if (panels > 0) {
        constexpr std::size_t run = 64;
        parallel(threads_for(at, tokens * in), ceil_div(vectors, run), [=](cpu_executor const&, std::size_t task) {
            for (std::size_t p = 0; p != panels; ++p)
                pack_panel(x + p * panel_tokens * x_stride, x_stride, task * run, min(vectors, (task + 1) * run),
                           packed + p * panel_tokens * vectors * lanes);
        });
    }
    parallel(at, ceil_div(out, rows), [=](cpu_executor const& alone, std::size_t task) {
        std::size_t const first = task * rows, end = min(out, first + rows), paneled = panels == 0 ? 0 : (end - first) / 3 * 3;
        temporaries local(alone);
        float* const kept = local.array<float>(paneled * panel_tokens * lanes);
        for (std::size_t p = 0; p != panels; ++p) {
            std::size_t const t = p * panel_tokens;
            Weight const *const from = w + first * in, *const next = p == 0 && first + 2 * paneled <= out ? from + paneled * in : from;
            dots_of_panel(from, paneled, in, packed + t * vectors * lanes, x + t * x_stride, x_stride, y + t * y_stride + first, y_stride, kept,
                          next);
        }
        // What is no panel: tokens left over of all rows, and rows left over of all tokens.
        for (std::size_t r = first; r < end;) {
            bool const all = r >= first + paneled, many = r + rows_at_once <= (all ? end : first + paneled);
            std::size_t const t = all ? 0 : panels * panel_tokens, n = many ? rows_at_once : 1;
            Weight const *const from = w + r * in, *const next = w + (r + 2 * n <= out ? r + n : r) * in;
            (many ? dots_of_all<rows_at_once, Weight> : dots_of_all<1, Weight>)(from, in, x + t * x_stride, x_stride, y + t * y_stride + r, y_stride,
                                                                                tokens - t, next);
            r += n;
        }
    });
}

/// Tokens are lanes: x is transposed to panels once, then tiles of rows x panels. Transposed: w is stored [in, out].
template <class Weight, bool Transposed>
void linear_many(cpu_executor const& at, Weight const* w, std::size_t out, std::size_t in, float const* x, std::size_t x_stride, float* y,
                 std::size_t y_stride, std::size_t tokens) {
    // A task multiplies a group of row tiles by a block of panels. A block's slice of one depth block (512 KiB with 512 x 256)
    // stays in L2 for the whole group; a group is long enough to hide its first read.
    constexpr std::size_t block_tokens = 256, longest_group = 8;
    constexpr std::size_t block_panels = block_tokens / panel_width;
    std::size_t const panels = ceil_div(tokens, panel_width), blocks = ceil_div(panels, block_panels), tiles = ceil_div(out, tile_rows);
    std::size_t const group = clamp(tiles * blocks / (4 * at.threads), 1, longest_group), groups = ceil_div(tiles, group);
    auto const width = [=](std::size_t panel) { return tokens - panel * panel_width > lanes ? panel_width : lanes; };

    temporaries memory(at);
    float* const packed = memory.array<float>(panels * panel_width * in);
    parallel(at, panels, [=](cpu_executor const&, std::size_t p) {
        std::size_t const t = p * panel_width;
        pack_transposed(x + t * x_stride, x_stride, min(panel_width, tokens - t), in, packed + t * in, width(p));
    });
    parallel(at, groups * blocks, [=](cpu_executor const& alone, std::size_t task) {
        std::size_t const first_row = task % groups * group * tile_rows, end_row = min(out, first_row + group * tile_rows);
        std::size_t const first_panel = task / groups * block_panels, end_panel = min(panels, first_panel + block_panels);
        temporaries local(alone);
        float* const a = local.array<float>(tile_rows * tile_stride);
        float* const sums = local.array<float>((group * tile_rows + lanes) * block_tokens);  // the transposition reads whole squares
        depth_blocks const depth{in};
        for (std::size_t d = 0; d < depth.count; ++d)
            for (std::size_t row = first_row; row < end_row; row += tile_rows) {
                std::size_t const k = depth.begin(d), rows = min(tile_rows, end_row - row);
                if constexpr (Transposed)
                    pack_rows_transposed(w + k * out + row, out, rows, depth.size(d), a);
                else
                    pack_rows(w + row * in + k, in, rows, depth.size(d), a);
                float* c = sums + (row - first_row) * block_tokens;
                for (std::size_t p = first_panel; p < end_panel; ++p, c += tile_rows * panel_width) {
                    std::size_t const t = p * panel_width;
                    tile(rows, width(p), a, packed + t * in + k * width(p), depth.size(d), c, panel_width, d == 0);
                    if (d + 1 == depth.count) store_transposed(c, panel_width, rows, min(panel_width, tokens - t), y + t * y_stride + row, y_stride);
                }
            }
    });
}

/// y_t = w x_t by few(at, w, x, y) for few tokens, and else in tiles. Transposed: w is stored [x.width, y.width].
template <class Weight, bool Transposed, class Few>
void few_or_many(cpu_executor const& at, Weight const* w, rows<float const> const& x, rows<float> const& y, Few const& few) {
#if GOLDFINCH_AMX
    if constexpr (std::is_same_v<Weight, bf16>)
        if (x.size > few_rows || at.batch_invariant) return amx_product<hardware_tiles, amx_parts, Transposed>(at, w, x, y);
#endif
    constexpr std::size_t at_once = 512;  // bounds the packed copy of x
    for (std::size_t t = 0; t < x.size; t += at_once) {
        std::size_t const n = min(at_once, x.size - t);
        if (n <= few_rows && !at.batch_invariant)
            few(at, w, rows<float const>{x[t], n, x.stride, x.width}, rows<float>{y[t], n, y.stride, y.width});
        else
            linear_many<Weight, Transposed>(at, w, y.width, x.width, x[t], x.stride, y[t], y.stride, n);
    }
}

/// y_t = w x_t for w stored [y.width, x.width].
template <element Weight>
void linear(cpu_executor const& at, Weight const* w, rows<float const> x, rows<float> y) {
    few_or_many<Weight, false>(at, w, x, y, linear_few<Weight>);
}

}  // namespace kernel
}  // namespace GOLDFINCH_TARGET
}  // namespace goldfinch
