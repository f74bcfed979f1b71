// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>

#include <goldfinch/backend/simd/tile.hpp>

// Products with low-rank matrices, which are stored [in, out]: output channels are lanes.

namespace goldfinch {
inline namespace GOLDFINCH_ISA {
namespace kernel {

/// Up to this many tokens the weights are used as they are; with more, a copy as floats pays.
inline constexpr std::size_t few_rows = 8;
/// Columns that a task with few tokens owns: with 4 tokens as many sums as fit in registers.
inline constexpr std::size_t column_vectors = many_registers ? 4 : 2;
/// Multiply-adds below which other threads would come too late.
inline constexpr std::size_t least_shared = 20000;

/// c [Tokens, V vectors] = x w for V vectors of columns, of which the last holds n. Every sum runs over the depth in order.
template <std::size_t Tokens, std::size_t V, class Weight>
void columns_of(float const* x, std::size_t x_stride, Weight const* w, std::size_t w_stride, std::size_t depth, std::size_t n, float* c,
                std::size_t c_stride) {
    batch s[Tokens * V];
    unroll<Tokens * V>([&](auto i) { s[i] = broadcast(0); });
    for (std::size_t k = 0; k < depth; ++k, ++x, w += w_stride) {
        batch row[V];
        unroll<V>([&](auto v) { row[v] = V == 1 ? load(w, n) : load(w + v * lanes); });
        unroll<Tokens>([&](auto t) {
            batch const xt = broadcast(x[t * x_stride]);
            unroll<V>([&](auto v) { s[t * V + v] = xsimd::fma(xt, row[v], s[t * V + v]); });
        });
    }
    unroll<Tokens>([&](auto t) { unroll<V>([&](auto v) { store(c + t * c_stride + v * lanes, s[t * V + v]); }); });
}

/// The same for any number of columns and 1 to 4 tokens.
template <class Weight>
void columns(std::size_t tokens, float const* x, std::size_t x_stride, Weight const* w, std::size_t w_stride, std::size_t depth, std::size_t n,
             float* c, std::size_t c_stride) {
    auto const some = [&]<std::size_t V>(std::integral_constant<std::size_t, V>, std::size_t from, std::size_t count) {
        auto const run = [&](auto t) { columns_of<t(), V>(x, x_stride, w + from, w_stride, depth, count, c + from, c_stride); };
        if (tokens >= 4) run(std::integral_constant<std::size_t, 4>{});
        else if (tokens == 3) run(std::integral_constant<std::size_t, 3>{});
        else if (tokens == 2) run(std::integral_constant<std::size_t, 2>{});
        else run(std::integral_constant<std::size_t, 1>{});
    };
    std::size_t from = 0;
    for (; from + column_vectors * lanes <= n; from += column_vectors * lanes) some(std::integral_constant<std::size_t, column_vectors>{}, from, lanes);
    for (; from < n; from += lanes) some(std::integral_constant<std::size_t, 1>{}, from, std::min(lanes, n - from));
}

/// Calls finish(t, column, sums, n) with n sums of x w, for all tokens and columns of w [depth, out].
template <class Weight, class Finish>
void product(simd<Weight> const& be, std::size_t tokens, float const* x, std::size_t x_stride, Weight const* w, std::size_t depth, std::size_t out,
             Finish const& finish) {
    auto const finish_row = [&](std::size_t t, std::size_t column, std::size_t end, float const* c) {
        for (; column < end; column += lanes, c += lanes) finish(t, column, load(c), std::min(lanes, end - column));
    };
    auto const share = [&](std::size_t tasks, auto const& task) {
        if (tokens * depth * out >= least_shared) return parallel(be, tasks, task);
        for (std::size_t i = 0; i < tasks; ++i) task(be, i);
    };
    if (tokens <= few_rows) {
        constexpr std::size_t width = column_vectors * lanes;
        return share(ceil_div(out, width), [&](simd<Weight> const&, std::size_t task) {
            std::size_t const column = task * width, end = std::min(out, column + width);
            alignas(alignment) float c[4 * width];
            for (std::size_t t = 0; t < tokens; t += 4) {
                std::size_t const n = std::min<std::size_t>(4, tokens - t);
                columns(n, x + t * x_stride, x_stride, w + column, out, depth, end - column, c, width);
                for (std::size_t i = 0; i < n; ++i) finish_row(t + i, column, end, c + i * width);
            }
        });
    }
    // A task multiplies a block of tokens by a block of columns, which it converts to panels in L2 (at most 512 KiB); for 96 tokens
    // that is a twentieth of the work.
    constexpr std::size_t block_tokens = 96, most_panels = 4, most_floats = 131072;
    std::size_t const panels = std::clamp<std::size_t>(most_floats / (panel_width * std::max<std::size_t>(1, depth)), 1, most_panels);
    std::size_t const width = panels * panel_width, blocks = ceil_div(out, width);
    share(blocks * ceil_div(tokens, block_tokens), [&](simd<Weight> const& alone, std::size_t task) {
        std::size_t const column = task % blocks * width, end = std::min(out, column + width);
        std::size_t const first = task / blocks * block_tokens, last = std::min(tokens, first + block_tokens);
        temporaries local(alone);
        float* const a = local.array<float>(tile_rows * tile_stride);
        float* const b = local.array<float>(depth * width);
        float* const c = local.array<float>(tile_rows * width);
        for (std::size_t p = column; p < end; p += panel_width) {
            std::size_t const n = std::min(panel_width, end - p);
            pack_columns(w + p, out, n, depth, b + (p - column) * depth, n > lanes ? panel_width : lanes);
        }
        depth_blocks const k{depth};
        for (std::size_t t = first; t < last; t += tile_rows) {
            std::size_t const rows = std::min(tile_rows, last - t);
            for (std::size_t d = 0; d < k.count; ++d) {
                pack_rows(x + t * x_stride + k.begin(d), x_stride, rows, k.size(d), a);
                for (std::size_t p = column; p < end; p += panel_width) {
                    std::size_t const n = end - p > lanes ? panel_width : lanes;
                    tile(rows, n, a, b + (p - column) * depth + k.begin(d) * n, k.size(d), c + p - column, width, d == 0);
                }
            }
            for (std::size_t i = 0; i < rows; ++i) finish_row(t + i, column, end, c + i * width);
        }
    });
}

}  // namespace kernel

/// h_t = tanh(x_t w1) for w1 stored [in, rank]. h must not overlap x.
template <class Weight, std::size_t In, std::size_t R>
void lora_down(simd<Weight> const& be, as<sequence<float const, In>> x, matrix<Weight const, In, R> w1, as<sequence<float, R>> h) {
    kernel::product(be, x.size, x.data, x.stride, w1.data, In, R, [h](std::size_t t, std::size_t i, kernel::batch sum, std::size_t n) {
        kernel::store(h[t] + i, xsimd::tanh(sum), n);
    });
}

/// y_t += h_t w2 for w2 stored [rank, out]. y must not overlap h.
template <class Weight, std::size_t R, std::size_t Out>
void lora_up(simd<Weight> const& be, as<sequence<float const, R>> h, matrix<Weight const, R, Out> w2, as<sequence<float, Out>> y) {
    kernel::product(be, h.size, h.data, h.stride, w2.data, R, Out, [y](std::size_t t, std::size_t i, kernel::batch sum, std::size_t n) {
        kernel::store(y[t] + i, kernel::load(y[t] + i, n) + sum, n);
    });
}

/// Data-dependent token shift: y_t = x_t + (x_{t-1} - x_t) * (mu + h_t w2), where x_{-1} = prev. y must not overlap the rest.
template <class Weight, std::size_t R, std::size_t D>
void token_shift(simd<Weight> const& be, as<sequence<float const, D>> x, as<vector<float const, D>> prev, as<vector<Weight const, D>> mu,
                 as<sequence<float const, R>> h, matrix<Weight const, R, D> w2, as<sequence<float, D>> y) {
    kernel::product(be, x.size, h.data, h.stride, w2.data, R, D, [=](std::size_t t, std::size_t i, kernel::batch sum, std::size_t n) {
        auto const now = kernel::load(x[t] + i, n), before = kernel::load((t == 0 ? prev.data : x[t - 1]) + i, n);
        kernel::store(y[t] + i, xsimd::fma(before - now, kernel::load(mu.data + i, n) + sum, now), n);
    });
}

}  // namespace GOLDFINCH_ISA
}  // namespace goldfinch
