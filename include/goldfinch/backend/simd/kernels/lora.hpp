// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <goldfinch/backend/simd/kernels/bf16_few.hpp>
#include <goldfinch/backend/simd/kernels/loops.hpp>
#include <goldfinch/backend/simd/kernels/tile.hpp>

// Products with low-rank matrices, which are stored [in, out]: output channels are lanes.

namespace goldfinch {
inline namespace GOLDFINCH_TARGET {
namespace kernel {

/// Columns that a task with few tokens owns: as many sums as fit in registers, with 4 tokens and with one, whose rows are then read in long runs.
inline constexpr std::size_t column_vectors = many_registers ? 4 : 2;
inline constexpr std::size_t column_vectors_of_one = 4 * column_vectors;
/// Depth of a task with few tokens.
inline constexpr std::size_t piece_depth = 128;
/// Multiply-adds below which other threads would come too late.
inline constexpr std::size_t least_shared = 20000;

/// c [Tokens, V vectors] = x w for V vectors of columns, of which the last holds n. Missing tokens repeat the last one. Every sum runs
/// over the depth in order.
template <std::size_t Tokens, std::size_t V, class T>
void columns_of(std::size_t tokens, float const* x, std::size_t x_stride, T const* w, std::size_t w_stride, std::size_t depth, std::size_t n,
                float* c, std::size_t c_stride) {
    vec s[Tokens * V];
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < Tokens * V; ++i) s[i] = broadcast(0);
    float const* xs[Tokens];
    for (std::size_t t = 0; t < Tokens; ++t) xs[t] = x + min(t, tokens - 1) * x_stride;
    constexpr std::size_t rows_ahead = 2048 / (V * lanes * sizeof(T));
    for (std::size_t k = 0; k < depth; ++k, w += w_stride) {
        vec row[V];
        GOLDFINCH_UNROLL
        for (std::size_t v = 0; v < V; ++v) {
            row[v] = V == 1 ? load(w, n) : load(w + v * lanes);
            prefetch_line(w + rows_ahead * w_stride + v * lanes);
        }
        GOLDFINCH_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            vec const xt = broadcast(xs[t][k]);
            GOLDFINCH_UNROLL
            for (std::size_t v = 0; v < V; ++v) s[t * V + v] = multiply_add(xt, row[v], s[t * V + v]);
        }
    }
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < Tokens * V; ++i) store(c + i / V * c_stride + i % V * lanes, s[i]);
}

/// The same for any number of columns; Tokens is 1 or 4.
template <std::size_t Tokens, class T>
void columns(std::size_t tokens, float const* x, std::size_t x_stride, T const* w, std::size_t w_stride, std::size_t depth, std::size_t n, float* c,
             std::size_t c_stride) {
    constexpr std::size_t V = column_vectors, most = column_vectors_of_one;
    std::size_t i = 0;
    if constexpr (Tokens == 1)
        for (; i + most * lanes <= n; i += most * lanes) columns_of<1, most>(tokens, x, x_stride, w + i, w_stride, depth, lanes, c + i, c_stride);
    for (; i + V * lanes <= n; i += V * lanes) columns_of<Tokens, V>(tokens, x, x_stride, w + i, w_stride, depth, lanes, c + i, c_stride);
    for (; i < n; i += lanes) columns_of<Tokens, 1>(tokens, x, x_stride, w + i, w_stride, depth, n - i, c + i, c_stride);
}

/// What to do with the sums of some columns of a row: a reference to any f(product, token, column, sums, n). Erases f's type, so that
/// `products` is compiled once for all f.
struct row_sink {
    void const* f;
    void (*call)(void const* f, std::size_t i, std::size_t t, std::size_t column, float const* sums, std::size_t n);

    template <class F>
    explicit row_sink(F const& g)
        : f(&g), call([](void const* to, std::size_t i, std::size_t t, std::size_t column, float const* sums, std::size_t n) {
              (*static_cast<F const*>(to))(i, t, column, sums, n);
          }) {}
    void operator()(std::size_t i, std::size_t t, std::size_t column, float const* sums, std::size_t n) const { call(f, i, t, column, sums, n); }
};

/// `products` with x rounded to bf16: a row has the same bits whatever rows are beside it, and however many.
template <class Tiles>
void rounded_products(cpu_executor const& at, std::size_t count, rows<float const> const& x, bf16 const* w, std::size_t depth, std::size_t out,
                      row_sink sink) {
    constexpr std::size_t at_once = 64;  // products that stay in L2
    temporaries memory(at);
    float* const kept = memory.array<float>(min(at_once, x.size) * out);
    for (std::size_t product = 0; product < count; ++product)
        for (std::size_t t = 0; t < x.size; t += at_once) {
            std::size_t const n = min(at_once, x.size - t);
            rows<float> const y{kept, n, out, out};
            invariant_product_of_bf16<Tiles, true>(at, w + product * depth * out, {x[t] + product * depth, n, x.stride, depth}, y);
            parallel(at, n, [=](cpu_executor const&, std::size_t i) { sink(product, t + i, 0, y[i], out); });
        }
}

/// `count` products at once: x_i w_i for i below `count`, where x_i is columns [i * depth, (i + 1) * depth) of x and w [count, depth, out].
/// Hands their rows to the sink in pieces.
template <class T>
void products(cpu_executor const& be, std::size_t count, rows<float const> x, T const* w, std::size_t depth, std::size_t out, row_sink sink) {
    std::size_t const tokens = x.size;
#if GOLDFINCH_AMX
    if constexpr (std::is_same_v<T, bf16>)
        if (be.batch_invariant && be.rounds_few) return rounded_products<hardware_tiles>(be, count, x, w, depth, out, sink);
#elif GOLDFINCH_AVX512_BF16
    if constexpr (std::is_same_v<T, bf16>)
        if (be.batch_invariant && be.rounds_few && dots_are_fast()) return rounded_products<hardware_dots>(be, count, x, w, depth, out, sink);
#endif
    cpu_executor const at = tokens * depth * out * count < least_shared ? be.alone() : be;
    if (tokens <= few_tokens) {  // with more, a copy of the weights as floats pays
        // A task multiplies a piece of the depth by a block of columns; sums of pieces are added in order. With one piece, every sum runs over the
        // depth in order, as it does with many tokens.
        std::size_t const width = (tokens == 1 ? column_vectors_of_one : column_vectors) * lanes;
        std::size_t const blocks = ceil_div(out, width);
        std::size_t const piece_size = be.batch_invariant ? max(1, depth) : piece_depth, pieces = max(1, ceil_div(depth, piece_size));
        temporaries memory(be);
        float* const sums = memory.array<float>(pieces > 1 ? pieces * count * tokens * out : 0);
        parallel(at, count * pieces * blocks, [&](cpu_executor const&, std::size_t task) {
            std::size_t const column = task % blocks * width, end = min(out, column + width);
            std::size_t const piece = task / blocks % pieces, product = task / blocks / pieces;
            std::size_t const first = piece * piece_size, n_deep = min(piece_size, depth - first);
            T const* const from = w + (product * depth + first) * out + column;
            alignas(alignment) float c[4 * column_vectors * lanes];
            for (std::size_t t = 0; t < tokens; t += 4) {
                std::size_t const n = min(4, tokens - t);
                (n == 1 ? columns<1, T> : columns<4, T>)(n, x[t] + product * depth + first, x.stride, from, out, n_deep, end - column, c, width);
                for (std::size_t i = 0; i < n; ++i) {
                    if (pieces > 1)
                        copy(c + i * width, end - column, sums + ((product * pieces + piece) * tokens + t + i) * out + column);
                    else
                        sink(product, t + i, column, c + i * width, end - column);
                }
            }
        });
        if (pieces == 1) return;
        for (std::size_t product = 0; product < count; ++product)
            for (std::size_t t = 0; t < tokens; ++t) {
                float* const total = sums + (product * pieces * tokens + t) * out;
                for (std::size_t piece = 1; piece < pieces; ++piece) {
                    float const* const part = total + piece * tokens * out;
                    each_vector(out, [&](std::size_t i, std::size_t n) { store(total + i, load(total + i, n) + load(part + i, n), n); });
                }
                sink(product, t, 0, total, out);
            }
        return;
    }
    // A task multiplies a block of tokens by a block of columns, which it converts to panels in L2 (at most 512 KiB); for 96 tokens
    // that is a twentieth of the work.
    constexpr std::size_t block_tokens = 96, most_panels = 4, most_floats = 131072;
    std::size_t const panels = clamp(most_floats / (panel_width * max(1, depth)), 1, most_panels);
    std::size_t const width = panels * panel_width, blocks = ceil_div(out, width), runs = ceil_div(tokens, block_tokens);
    parallel(at, count * runs * blocks, [&](cpu_executor const& alone, std::size_t task) {
        std::size_t const column = task % blocks * width, end = min(out, column + width);
        std::size_t const first = task / blocks % runs * block_tokens, last = min(tokens, first + block_tokens);
        std::size_t const product = task / blocks / runs;
        temporaries local(alone);
        float* const a = local.array<float>(tile_rows * tile_stride);
        float* const b = local.array<float>(depth * width);
        float* const c = local.array<float>(tile_rows * width);
        for (std::size_t p = column; p < end; p += panel_width) {
            std::size_t const n = min(panel_width, end - p);
            pack_columns(w + product * depth * out + p, out, n, depth, b + (p - column) * depth, n > lanes ? panel_width : lanes);
        }
        depth_blocks const k{depth};
        for (std::size_t t = first; t < last; t += tile_rows) {
            std::size_t const n_rows = min(tile_rows, last - t);
            for (std::size_t d = 0; d < k.count; ++d) {
                pack_rows(x[t] + product * depth + k.begin(d), x.stride, n_rows, k.size(d), a);
                for (std::size_t p = column; p < end; p += panel_width) {
                    std::size_t const n = end - p > lanes ? panel_width : lanes;
                    tile(n_rows, n, a, b + (p - column) * depth + k.begin(d) * n, k.size(d), c + p - column, width, d == 0);
                }
            }
            for (std::size_t i = 0; i < n_rows; ++i) sink(product, t + i, column, c + i * width, end - column);
        }
    });
}

/// A sink that hands vectors, with up to `lanes` sums each, to what f.row(product, token) returns: g(column, sums, n).
template <class F>
struct by_vectors {
    F f;
    void operator()(std::size_t product, std::size_t t, std::size_t column, float const* sums, std::size_t n) const {
        auto const g = f.row(product, t);
        for (std::size_t i = 0; i < n; i += lanes) g(column + i, load(sums + i), n - i);
    }
};

// What becomes of the sums. Types of their own, so that all shapes share one loop.
struct store_tanh {
    rows<float> h;
    GOLDFINCH_INLINE auto row(std::size_t, std::size_t t) const {
        return [to = h[t]](std::size_t c, vec sum, std::size_t n) GOLDFINCH_LAMBDA_INLINE {
            // Beyond 20 tanh is 1 to the last bit; its exp would be infinite far out, of which -ffast-math makes NaN.
            store(to + c, xsimd::tanh(xsimd::max(broadcast(-20), xsimd::min(broadcast(20), sum))), n);
        };
    }
};
struct add_to {
    rows<float> y;
    GOLDFINCH_INLINE auto row(std::size_t, std::size_t t) const {
        return [to = y[t]](std::size_t c, vec sum, std::size_t n) GOLDFINCH_LAMBDA_INLINE { store(to + c, load(to + c, n) + sum, n); };
    }
};
template <class T>
struct add_bias {
    T const* bias;
    rows<float> y;
    GOLDFINCH_INLINE auto row(std::size_t, std::size_t t) const {
        return [from = bias, to = y[t]](std::size_t c, vec sum, std::size_t n) GOLDFINCH_LAMBDA_INLINE { store(to + c, load(from + c, n) + sum, n); };
    }
};
template <class T>
struct shift_to_previous {
    rows<float const> x;
    float const* const* before;
    T const* const* mu;
    rows<float> const* y;
    GOLDFINCH_INLINE auto row(std::size_t i, std::size_t t) const {
        return [now = x[t], previous = before[t], m = mu[i], to = y[i][t]](std::size_t c, vec sum, std::size_t n) GOLDFINCH_LAMBDA_INLINE {
            vec const z = load(now + c, n), difference = load(previous + c, n) - z;
            store(to + c, multiply_add(difference, load(m + c, n) + sum, z), n);
        };
    }
};

/// h_t = tanh(x_t w1) for w1 stored [x.width, h.width].
template <element T>
void lora_down(cpu_executor const& at, rows<float const> x, T const* w1, rows<float> h) {
    by_vectors<store_tanh> const sink{{h}};
    products(at, 1, x, w1, x.width, h.width, row_sink(sink));
}

/// y_t = bias + h_t w2, or y_t += h_t w2 without a bias, for w2 stored [h.width, y.width].
template <element T>
void lora_up(cpu_executor const& at, T const* bias, rows<float const> h, T const* w2, rows<float> y) {
    by_vectors<add_to> const add{{y}};
    by_vectors<add_bias<T>> const set{{bias, y}};
    products(at, 1, h, w2, h.width, y.width, bias != nullptr ? row_sink(set) : row_sink(add));
}

/// Data-dependent token shift: y[i]_t = x_t + (before_t - x_t) * (mu[i] + h_t[i * R, (i + 1) * R) w2[i]) for i below `count`, with
/// h [size, count * R] and w2 [count, R, x.width]. All outputs share one loop: waking the threads once for each would take longer than the
/// work for one token.
template <element T>
void token_shift_lora(cpu_executor const& at, rows<float const> x, float const* const* before, std::size_t count, T const* const* mu,
                      rows<float const> h, T const* w2, rows<float> const* y) {
    by_vectors<shift_to_previous<T>> const mix{{x, before, mu, y}};
    products(at, count, h, w2, h.width / count, x.width, row_sink(mix));
}

}  // namespace kernel
}  // namespace GOLDFINCH_TARGET
}  // namespace goldfinch
