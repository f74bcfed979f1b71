// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <goldfinch/backend/simd/kernels/bf16_few.hpp>
#include <goldfinch/backend/simd/kernels/bf16_product.hpp>
#include <goldfinch/backend/simd/kernels/tile.hpp>

namespace goldfinch {
inline namespace GOLDFINCH_TARGET {
namespace kernel {

/// Tokens that are multiplied with rows of weights at once, as sums in registers go.
inline constexpr std::size_t tokens_at_once = many_registers ? 4 : 2;

/// Elements of a pair of vectors.
inline constexpr std::size_t pair = 2 * lanes;

/// Copies a pair of x so that its halves are as load_half gives those of weights.
template <class Weight>
GOLDFINCH_INLINE void copy_matching(float const* x, float* to) {
    vec a = load(x), b = load(x + lanes);
    if constexpr (splits_pairs<Weight>) deinterleave(a, b);
    store(to, a), store(to + lanes, b);
}

/// y [Tokens, Rows] = x w^T for consecutive rows of w, where whole pairs of x are as load_half gives those of w. Each sum runs over the depth by vectors,
/// whatever Rows and Tokens are.
template <std::size_t Rows, std::size_t Tokens, class Weight>
void dots(Weight const* w, std::size_t in, float const* x, std::size_t x_stride, float* y, std::size_t y_stride) {
    constexpr std::size_t a_line = 64 / sizeof(Weight);
    vec s[Rows * Tokens];
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < Rows * Tokens; ++i) s[i] = broadcast(0);
    std::size_t k = 0;
    for (; k + pair <= in; k += pair) {
        vec first[Tokens], second[Tokens];
        GOLDFINCH_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) first[t] = load(x + t * x_stride + k), second[t] = load(x + t * x_stride + k + lanes);
        GOLDFINCH_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            vec const a = load_half<0>(w + r * in + k), b = load_half<1>(w + r * in + k);
            GOLDFINCH_UNROLL
            for (std::size_t line = 0; line < pair; line += a_line)
                if ((k + line) % a_line == 0) prefetch_weights(w + r * in + k + line);
            GOLDFINCH_UNROLL
            for (std::size_t t = 0; t < Tokens; ++t) s[r * Tokens + t] = multiply_add(b, second[t], multiply_add(a, first[t], s[r * Tokens + t]));
        }
    }
    // The rest is no matter of speed: a plain loop over memory is a third of the code to compile.
    alignas(alignment) float ends[Rows * Tokens * lanes];
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < Rows * Tokens; ++i) store(ends + i * lanes, s[i]);
    for (; k < in; k += lanes)
        for (std::size_t i = 0; i < Rows * Tokens; ++i)
            store(ends + i * lanes,
                  multiply_add(load(w + i / Tokens * in + k, in - k), load(x + i % Tokens * x_stride + k, in - k), load(ends + i * lanes)));
    float totals[Rows * Tokens];
    sums(ends, Rows * Tokens, totals);
    for (std::size_t i = 0; i < Rows * Tokens; ++i) y[i % Tokens * y_stride + i / Tokens] = totals[i];
}

/// All tokens for consecutive rows, which stay in L1 meanwhile.
template <std::size_t Rows, class Weight>
void dots_of_all(Weight const* w, std::size_t in, float const* x, std::size_t x_stride, float* y, std::size_t y_stride, std::size_t tokens) {
    by_runs<tokens_at_once>(
        tokens, [&](auto run, std::size_t t) GOLDFINCH_LAMBDA_INLINE { dots<Rows, run.size>(w, in, x + t * x_stride, x_stride, y + t * y_stride, y_stride); });
}

/// Tokens of a panel: x as pairs of vectors, the same one of every token side by side. Rows of x lie where rows of weights would push them out of L1.
inline constexpr std::size_t panel_tokens = 8;
/// Rows of weights that are multiplied with a panel at once.
inline constexpr std::size_t panel_rows = 3;

/// Pairs [first, last) of panel_tokens rows of x.
template <class Weight>
void pack_panel(float const* x, std::size_t x_stride, std::size_t first, std::size_t last, float* panel) {
    for (std::size_t i = first; i < last; ++i)
        for (std::size_t t = 0; t < panel_tokens; ++t) copy_matching<Weight>(x + t * x_stride + i * pair, panel + (i * panel_tokens + t) * pair);
}

/// A panel of x for consecutive rows. The panel goes by blocks of the depth, which stay in L1; sums_at keeps [rows, panel_tokens] vectors meanwhile,
/// of rows filled up to a multiple of panel_rows. The sums are those of `dots`.
template <class Weight>
void dots_of_panel(Weight const* w, std::size_t n_rows, std::size_t in, float const* panel, float const* x, std::size_t x_stride, float* y,
                   std::size_t y_stride, float* sums_at) {
    constexpr std::size_t Rows = panel_rows, Tokens = panel_tokens, S = Rows * Tokens, a_line = 64 / sizeof(Weight);
    std::size_t const whole = in / pair * pair;
    for (std::size_t first = 0; first < whole; first += tile_depth) {
        std::size_t const end = min(whole, first + tile_depth);
        for (std::size_t r = 0; r < n_rows; r += Rows) {
            float* const at = sums_at + r * Tokens * lanes;
            Weight const* row[Rows];
            vec s[S];
            GOLDFINCH_UNROLL
            for (std::size_t j = 0; j < Rows; ++j) row[j] = w + min(r + j, n_rows - 1) * in;
            GOLDFINCH_UNROLL
            for (std::size_t i = 0; i < S; ++i) s[i] = first == 0 ? broadcast(0) : load(at + i * lanes);
            for (std::size_t k = first; k < end; k += pair) {
                auto const add = [&]<std::size_t half>(run_of<half>) GOLDFINCH_LAMBDA_INLINE {
                    vec a[Rows];
                    GOLDFINCH_UNROLL
                    for (std::size_t j = 0; j < Rows; ++j) a[j] = load_half<half>(row[j] + k);
                    GOLDFINCH_UNROLL
                    for (std::size_t t = 0; t < Tokens; ++t) {
                        vec const xt = as_written(load(panel + k * Tokens + t * pair + half * lanes));  // in a register: compilers would load it for every row
                        GOLDFINCH_UNROLL
                        for (std::size_t j = 0; j < Rows; ++j) s[j * Tokens + t] = multiply_add(a[j], xt, s[j * Tokens + t]);
                    }
                };
                GOLDFINCH_UNROLL
                for (std::size_t j = 0; j < Rows; ++j)
                    GOLDFINCH_UNROLL
                    for (std::size_t line = 0; line < pair; line += a_line)
                        if ((k + line) % a_line == 0) prefetch_weights(row[j] + k + line);
                add(run_of<0>{});
                add(run_of<1>{});
            }
            GOLDFINCH_UNROLL
            for (std::size_t i = 0; i < S; ++i) store(at + i * lanes, s[i]);
        }
    }
    for (std::size_t i = 0; whole < in && i < n_rows * Tokens; ++i) {
        vec sum = whole > 0 ? load(sums_at + i * lanes) : broadcast(0);
        for (std::size_t k = whole; k < in; k += lanes)
            sum = multiply_add(load(w + i / Tokens * in + k, in - k), load(x + i % Tokens * x_stride + k, in - k), sum);
        store(sums_at + i * lanes, sum);
    }
    for (std::size_t r = 0; r < n_rows; r += Rows) {
        float totals[S];
        sums(sums_at + r * Tokens * lanes, S, totals);
        for (std::size_t i = 0; i < S; ++i)
            if (r + i / Tokens < n_rows) y[i % Tokens * y_stride + r + i / Tokens] = totals[i];
    }
}

template <class Weight>
void linear_few(cpu_executor const& at, Weight const* w, rows<float const> const& x, rows<float> const& y) {
    std::size_t const out = y.width, in = x.width, pairs = in / pair;
    constexpr std::size_t rows_at_once = many_registers ? 6 : 4;
    // 64 KiB of weights a task: microseconds, so that handing out tasks costs little and the last one keeps nobody waiting.
    std::size_t const row_bytes = max(1, in * sizeof(Weight));
    std::size_t const run = ceil_div(max(1, 65536 / row_bytes), rows_at_once) * rows_at_once;
    std::size_t const panels = many_registers ? x.size / panel_tokens : 0, paneled = panels * panel_tokens, left = x.size - paneled;
    temporaries memory(at);
    float* const packed = memory.array<float>(paneled * pairs * pair);
    if (panels > 0) {
        constexpr std::size_t some = 32;
        parallel(threads_for(at, paneled * in), ceil_div(pairs, some), [=](cpu_executor const&, std::size_t task) {
            for (std::size_t t = 0; t < paneled; t += panel_tokens)
                pack_panel<Weight>(x[t], x.stride, task * some, min(pairs, (task + 1) * some), packed + t * pairs * pair);
        });
    }
    float const* rest = x[paneled];
    std::size_t rest_stride = x.stride;
    if constexpr (splits_pairs<Weight>) {
        float* const matching = memory.array<float>(left * in);
        for (std::size_t t = 0; t < left; ++t) {
            float const* const from = rest + t * rest_stride;
            float* const to = matching + t * in;
            for (std::size_t k = 0; k < pairs * pair; k += pair) copy_matching<Weight>(from + k, to + k);
            copy(from + pairs * pair, in - pairs * pair, to + pairs * pair);
        }
        rest = matching, rest_stride = in;
    }
    parallel(at, ceil_div(out, run), [=](cpu_executor const& alone, std::size_t task) {
        std::size_t const first = task * run, end = min(out, first + run), n = end - first;
        temporaries local(alone);
        float* const kept = local.array<float>(panels > 0 ? ceil_div(n, panel_rows) * panel_rows * panel_tokens * lanes : 0);
        for (std::size_t t = 0; t < paneled; t += panel_tokens)
            dots_of_panel(w + first * in, n, in, packed + t * pairs * pair, x[t], x.stride, y[t] + first, y.stride, kept);
        for (std::size_t r = first; r < end;) {
            bool const many = r + rows_at_once <= end;
            (many ? dots_of_all<rows_at_once, Weight> : dots_of_all<1, Weight>)(w + r * in, in, rest, rest_stride, y[paneled] + r, y.stride, left);
            r += many ? rows_at_once : 1;
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

/// y_t = w x_t by few(at, w, x, y) for few tokens, and else in tiles, with x rounded to bf16 where w is bf16 and the processor multiplies that faster; but to 16 bits
/// at least where rows must not depend on how many there are. Transposed: w is stored [x.width, y.width].
template <class Weight, bool Transposed, class Few>
void few_or_many(cpu_executor const& at, Weight const* w, rows<float const> const& x, rows<float> const& y, Few const& few) {
#if GOLDFINCH_AMX
    if constexpr (std::is_same_v<Weight, bf16>) {
        if (at.batch_invariant)
            return at.rounds_few ? invariant_product_of_bf16<hardware_tiles, Transposed>(at, w, x, y) : product_of_bf16<hardware_tiles, 2, Transposed>(at, w, x, y);
        if (x.size > few_rows || (at.rounds_few && x.size >= least_dots_rows)) return product_of_bf16<hardware_tiles, 1, Transposed>(at, w, x, y);
    }
#elif GOLDFINCH_AVX512_BF16
    if constexpr (std::is_same_v<Weight, bf16>)
        if ((at.rounds_few || !at.batch_invariant) && dots_are_fast()) {
            if (at.batch_invariant) return invariant_product_of_bf16<hardware_dots, Transposed>(at, w, x, y);
            if (x.size > few_rows) return product_of_bf16<hardware_dots, 1, Transposed>(at, w, x, y);
            if (at.rounds_few && x.size >= least_dots_rows) return (Transposed ? dots_few_transposed<hardware_dots> : dots_few<hardware_dots>)(at, w, x, y);
        }
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
