// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>

#include <goldfinch/backend/simd/rows.hpp>
#include <goldfinch/backend/simd/tile.hpp>

// Products with low-rank matrices, which are stored [in, out]: output channels are lanes.

namespace goldfinch {
inline namespace GOLDFINCH_ISA {
namespace kernel {

/// Up to this many tokens the weights are used as they are; with more, a copy as floats pays.
inline constexpr std::size_t few_lora_tokens = 8;
/// Columns that a task with few tokens owns: with 4 tokens as many sums as fit in registers.
inline constexpr std::size_t column_vectors = many_registers ? 4 : 2;
/// Multiply-adds below which other threads would come too late.
inline constexpr std::size_t least_shared = 20000;

/// c [Tokens, V vectors] = x w for V vectors of columns, of which the last holds n. Behind the last token it stands again. Every sum
/// runs over the depth in order.
template <std::size_t Tokens, std::size_t V, class Weight>
void columns_of(std::size_t tokens, float const* x, std::size_t x_stride, Weight const* w, std::size_t w_stride, std::size_t depth, std::size_t n,
                float* c, std::size_t c_stride) {
    batch s[Tokens * V];
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < Tokens * V; ++i) s[i] = broadcast(0);
    float const* xs[Tokens];
    for (std::size_t t = 0; t < Tokens; ++t) xs[t] = x + std::min(t, tokens - 1) * x_stride;
    for (std::size_t k = 0; k < depth; ++k, w += w_stride) {
        batch row[V];
        GOLDFINCH_UNROLL
        for (std::size_t v = 0; v < V; ++v) row[v] = V == 1 ? load(w, n) : load(w + v * lanes);
        GOLDFINCH_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            batch const xt = broadcast(xs[t][k]);
            GOLDFINCH_UNROLL
            for (std::size_t v = 0; v < V; ++v) s[t * V + v] = xsimd::fma(xt, row[v], s[t * V + v]);
        }
    }
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < Tokens * V; ++i) store(c + i / V * c_stride + i % V * lanes, s[i]);
}

/// The same for any number of columns; Tokens is 1 or 4.
template <std::size_t Tokens, class Weight>
void columns(std::size_t tokens, float const* x, std::size_t x_stride, Weight const* w, std::size_t w_stride, std::size_t depth, std::size_t n,
             float* c, std::size_t c_stride) {
    constexpr std::size_t V = column_vectors;
    std::size_t i = 0;
    for (; i + V * lanes <= n; i += V * lanes) columns_of<Tokens, V>(tokens, x, x_stride, w + i, w_stride, depth, lanes, c + i, c_stride);
    for (; i < n; i += lanes) columns_of<Tokens, 1>(tokens, x, x_stride, w + i, w_stride, depth, n - i, c + i, c_stride);
}

/// What to do with the sums of some columns of a row: a reference to any f(token, column, sums, n), so that `product` is compiled once.
struct row_sink {
    void const* f;
    void (*call)(void const* f, std::size_t t, std::size_t column, float const* sums, std::size_t n);

    template <class F>
    explicit row_sink(F const& g)
        : f(&g), call([](void const* to, std::size_t t, std::size_t column, float const* sums, std::size_t n) {
              (*static_cast<F const*>(to))(t, column, sums, n);
          }) {}
    void operator()(std::size_t t, std::size_t column, float const* sums, std::size_t n) const { call(f, t, column, sums, n); }
};

/// Hands the rows of x w, w [depth, out], to the sink in pieces.
template <class Weight>
void product(simd<Weight> const& be, std::size_t tokens, float const* x, std::size_t x_stride, Weight const* w, std::size_t depth, std::size_t out,
             row_sink sink) {
    simd<Weight> at = be;
    if (tokens * depth * out < least_shared) at.pool = nullptr;
    if (tokens <= few_lora_tokens) {
        constexpr std::size_t width = column_vectors * lanes;
        return parallel(at, ceil_div(out, width), [&](simd<Weight> const&, std::size_t task) {
            std::size_t const column = task * width, end = std::min(out, column + width);
            alignas(alignment) float c[4 * width];
            for (std::size_t t = 0; t < tokens; t += 4) {
                std::size_t const n = std::min<std::size_t>(4, tokens - t);
                (n == 1 ? columns<1, Weight> : columns<4, Weight>)(n, x + t * x_stride, x_stride, w + column, out, depth, end - column, c, width);
                for (std::size_t i = 0; i < n; ++i) sink(t + i, column, c + i * width, end - column);
            }
        });
    }
    // A task multiplies a block of tokens by a block of columns, which it converts to panels in L2 (at most 512 KiB); for 96 tokens
    // that is a twentieth of the work.
    constexpr std::size_t block_tokens = 96, most_panels = 4, most_floats = 131072;
    std::size_t const panels = std::clamp<std::size_t>(most_floats / (panel_width * std::max<std::size_t>(1, depth)), 1, most_panels);
    std::size_t const width = panels * panel_width, blocks = ceil_div(out, width);
    parallel(at, blocks * ceil_div(tokens, block_tokens), [&](simd<Weight> const& alone, std::size_t task) {
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
            for (std::size_t i = 0; i < rows; ++i) sink(t + i, column, c + i * width, end - column);
        }
    });
}

/// A sink that calls f(token, column, sums, n) for vectors, with up to `lanes` sums each.
template <class F>
struct by_vectors {
    F f;
    void operator()(std::size_t t, std::size_t column, float const* sums, std::size_t n) const {
        for (std::size_t i = 0; i < n; i += lanes) f(t, column + i, load(sums + i), std::min(lanes, n - i));
    }
};

// What becomes of the sums. Types of their own, so that all shapes share one loop.
struct store_tanh {
    rows<float> h;
    GOLDFINCH_INLINE void operator()(std::size_t t, std::size_t i, batch sum, std::size_t n) const { store(h[t] + i, xsimd::tanh(sum), n); }
};
struct add_to {
    rows<float> y;
    GOLDFINCH_INLINE void operator()(std::size_t t, std::size_t i, batch sum, std::size_t n) const { store(y[t] + i, load(y[t] + i, n) + sum, n); }
};
template <class Weight>
struct shift_towards_previous {
    rows<float const> x;
    float const* prev;
    Weight const* mu;
    rows<float> y;
    GOLDFINCH_INLINE void operator()(std::size_t t, std::size_t i, batch sum, std::size_t n) const {
        batch const now = load(x[t] + i, n), before = load((t == 0 ? prev : x[t - 1]) + i, n);
        store(y[t] + i, xsimd::fma(before - now, load(mu + i, n) + sum, now), n);
    }
};

}  // namespace kernel

/// h_t = tanh(x_t w1) for w1 stored [in, rank]. h must not overlap x.
template <class Weight, std::size_t In, std::size_t R>
void lora_down(simd<Weight> const& be, as<sequence<float const, In>> x, matrix<Weight const, In, R> w1, as<sequence<float, R>> h) {
    kernel::by_vectors<kernel::store_tanh> const store{{h}};
    kernel::product(be, x.size, x.data, x.stride, w1.data, In, R, kernel::row_sink(store));
}

/// y_t += h_t w2 for w2 stored [rank, out]. y must not overlap h.
template <class Weight, std::size_t R, std::size_t Out>
void lora_up(simd<Weight> const& be, as<sequence<float const, R>> h, matrix<Weight const, R, Out> w2, as<sequence<float, Out>> y) {
    kernel::by_vectors<kernel::add_to> const add{{y}};
    kernel::product(be, h.size, h.data, h.stride, w2.data, R, Out, kernel::row_sink(add));
}

/// Data-dependent token shift: y_t = x_t + (x_{t-1} - x_t) * (mu + h_t w2), where x_{-1} = prev. y must not overlap the rest.
template <class Weight, std::size_t R, std::size_t D>
void token_shift(simd<Weight> const& be, as<sequence<float const, D>> x, as<vector<float const, D>> prev, as<vector<Weight const, D>> mu,
                 as<sequence<float const, R>> h, matrix<Weight const, R, D> w2, as<sequence<float, D>> y) {
    kernel::by_vectors<kernel::shift_towards_previous<Weight>> const mix{{x, prev.data, mu.data, y}};
    kernel::product(be, x.size, h.data, h.stride, w2.data, R, D, kernel::row_sink(mix));
}

}  // namespace GOLDFINCH_ISA
}  // namespace goldfinch
