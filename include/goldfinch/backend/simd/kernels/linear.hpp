// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <goldfinch/backend/simd/kernels/amx.hpp>
#include <goldfinch/backend/simd/kernels/tile.hpp>

namespace goldfinch {
inline namespace GOLDFINCH_TARGET {
namespace kernel {

/// Up to this many tokens the weights set the time: each is read once and used from a register.
inline constexpr std::size_t few_tokens = 8;

/// y [Tokens, Rows] = x w^T for consecutive rows of w. Each sum runs over the depth by vectors, whatever Rows and Tokens are.
template <std::size_t Rows, std::size_t Tokens, class Weight>
void dots(Weight const* w, std::size_t in, float const* x, std::size_t x_stride, float* y, std::size_t y_stride, Weight const* next) {
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
            prefetch_line(next + r * in + k);
            GOLDFINCH_UNROLL
            for (std::size_t t = 0; t < Tokens; ++t) s[r * Tokens + t] = xsimd::fma(row, xs[t], s[r * Tokens + t]);
        }
    }
    // The rest is no matter of speed: a plain loop over memory is a third of the code to compile.
    alignas(alignment) float ends[Rows * Tokens * lanes];
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < Rows * Tokens; ++i) store(ends + i * lanes, s[i]);
    for (std::size_t i = 0; i < Rows * Tokens; ++i) {
        std::size_t const r = i / Tokens, t = i % Tokens;
        vec end = load(ends + i * lanes);
        if (k < in) end = xsimd::fma(load(w + r * in + k, in - k), load(x + t * x_stride + k, in - k), end);
        y[t * y_stride + r] = sum(end);
    }
}

/// All tokens for consecutive rows, which stay in L1 meanwhile.
template <std::size_t Rows, class Weight>
void dots_of_all(Weight const* w, std::size_t in, float const* x, std::size_t x_stride, float* y, std::size_t y_stride, std::size_t tokens,
                 Weight const* next) {
    constexpr std::size_t at_once = many_registers ? 4 : 2;
    std::size_t t = 0;
    for (; t + at_once <= tokens; t += at_once, next = w) dots<Rows, at_once>(w, in, x + t * x_stride, x_stride, y + t * y_stride, y_stride, next);
    if (t + 2 <= tokens) {
        dots<Rows, 2>(w, in, x + t * x_stride, x_stride, y + t * y_stride, y_stride, next);
        t += 2, next = w;
    }
    if (t < tokens) dots<Rows, 1>(w, in, x + t * x_stride, x_stride, y + t * y_stride, y_stride, next);
}

/// Eight tokens for consecutive rows, a multiple of 3. Their x do not fit in L1 together, so that it goes by blocks of the depth; `sums` keeps
/// [rows, 8] vectors meanwhile. The sums are those of `dots`.
template <class Weight>
void dots_of_eight(Weight const* w, std::size_t n_rows, std::size_t in, float const* x, std::size_t x_stride, float* y, std::size_t y_stride, float* sums,
                   Weight const* next) {
    constexpr std::size_t Rows = 3, Tokens = 8, S = Rows * Tokens;
    std::size_t const whole = in / lanes * lanes;
    for (std::size_t first = 0; first < whole; first += tile_depth) {
        std::size_t const end = min(whole, first + tile_depth);
        for (std::size_t r = 0; r < n_rows; r += Rows) {
            float* const at = sums + r * Tokens * lanes;
            vec s[S];
            GOLDFINCH_UNROLL
            for (std::size_t i = 0; i < S; ++i) s[i] = first == 0 ? broadcast(0) : load(at + i * lanes);
            for (std::size_t k = first; k < end; k += lanes) {
                vec row[Rows];
                GOLDFINCH_UNROLL
                for (std::size_t j = 0; j < Rows; ++j) {
                    row[j] = load(w + (r + j) * in + k);
                    prefetch_line(next + (r + j) * in + k);
                }
                GOLDFINCH_UNROLL
                for (std::size_t t = 0; t < Tokens; ++t) {
                    vec const xt = load(x + t * x_stride + k);
                    GOLDFINCH_UNROLL
                    for (std::size_t j = 0; j < Rows; ++j) s[j * Tokens + t] = xsimd::fma(row[j], xt, s[j * Tokens + t]);
                }
            }
            GOLDFINCH_UNROLL
            for (std::size_t i = 0; i < S; ++i) store(at + i * lanes, s[i]);
        }
    }
    for (std::size_t r = 0; r < n_rows; ++r)
        for (std::size_t t = 0; t < Tokens; ++t) {
            vec s = whole > 0 ? load(sums + (r * Tokens + t) * lanes) : broadcast(0);
            if (whole < in) s = xsimd::fma(load(w + r * in + whole, in - whole), load(x + t * x_stride + whole, in - whole), s);
            y[t * y_stride + r] = sum(s);
        }
}

template <class Weight>
void linear_few(cpu_executor const& at, Weight const* w, std::size_t out, std::size_t in, float const* x, std::size_t x_stride, float* y,
                std::size_t y_stride, std::size_t tokens) {
    constexpr std::size_t rows_at_once = many_registers ? 6 : 4;
    // 64 KiB of weights a task: microseconds, so that handing out tasks costs little and the last one keeps nobody waiting.
    std::size_t const row_bytes = max(1, in * sizeof(Weight));
    std::size_t const rows = ceil_div(max(1, 65536 / row_bytes), rows_at_once) * rows_at_once;
    parallel(at, ceil_div(out, rows), [=]([[maybe_unused]] cpu_executor const& alone, std::size_t task) {
        std::size_t r = task * rows;
        std::size_t const end = min(out, r + rows);
        if constexpr (many_registers)
            if (tokens == 8) {
                std::size_t const n = (end - r) / 3 * 3;
                temporaries memory(alone);
                bool const more = r + 2 * n <= out;
                dots_of_eight(w + r * in, n, in, x, x_stride, y + r, y_stride, memory.array<float>(n * 8 * lanes), w + (more ? r + n : r) * in);
                r += n;
            }
        for (; r + rows_at_once <= end; r += rows_at_once)
            dots_of_all<rows_at_once>(w + r * in, in, x, x_stride, y + r, y_stride, tokens, w + (r + 2 * rows_at_once <= out ? r + rows_at_once : r) * in);
        for (; r < end; ++r) dots_of_all<1>(w + r * in, in, x, x_stride, y + r, y_stride, tokens, w + r * in);
    });
}

/// Tokens are lanes: x is transposed to panels once, then tiles of rows x panels.
template <class Weight>
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

/// y_t = w x_t for w stored [y.width, x.width].
template <element Weight>
void linear(cpu_executor const& at, Weight const* w, rows<float const> x, rows<float> y) {
#if GOLDFINCH_AMX
    if constexpr (std::is_same_v<Weight, bf16>)
        if (x.size > amx_tokens || at.batch_invariant) return amx_product<hardware_tiles>(at, w, x, y);
#endif
    constexpr std::size_t at_once = 512;  // bounds the packed copy of x
    for (std::size_t t = 0; t < x.size; t += at_once) {
        std::size_t const n = min(at_once, x.size - t);
        auto const product = n <= few_tokens && !at.batch_invariant ? linear_few<Weight> : linear_many<Weight>;
        product(at, w, y.width, x.width, x[t], x.stride, y[t], y.stride, n);
    }
}

}  // namespace kernel
}  // namespace GOLDFINCH_TARGET
}  // namespace goldfinch
