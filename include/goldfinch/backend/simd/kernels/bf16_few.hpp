// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include <goldfinch/backend/simd/kernels/bf16_product.hpp>
#include <goldfinch/backend/simd/kernels/tile.hpp>

// Products of bf16 weights with a few rows of activations, as a step of several sessions has, rounded to bf16, by dot products of pairs: twice the
// work an instruction of float32 multiply-adds, so that eight rows take little longer than reading the weights does.

namespace goldfinch {
inline namespace GOLDFINCH_TARGET {
namespace kernel {

/// Rows of activations that are multiplied at once, as sums in registers go, and from how many on rounding them pays.
inline constexpr std::size_t dots_rows = 8, least_dots_rows = 5;
/// Columns of a step.
inline constexpr std::size_t dots_step = 32;

/// x rounded, in panels of dots_rows rows: of each, steps of dots_rows times dots_step columns; zeros behind both ends.
inline void pack_dots(rows<float const> const& x, std::size_t panel, std::size_t step, bf16* to) {
    for (std::size_t t = 0; t < dots_rows; ++t, to += dots_step) {
        std::size_t const row = panel * dots_rows + t, first = step * dots_step, n = row < x.size ? min(dots_step, x.width - first) : 0;
        for (std::size_t i = 0; i < n; ++i) to[i] = bf16(x[row][first + i]);
        for (std::size_t i = n; i < dots_step; ++i) to[i] = bf16{};
    }
}

/// sums [R, dots_rows, 16] = (or +=) the products of n columns of R rows of w and of a panel of x, in 16 parts. Asks for what lies `later` bytes
/// behind the weights.
template <std::size_t R, class Dots>
void dots_of_rows(bf16 const* const (&w)[R], bf16 const* x, std::size_t n, std::size_t later, float* sums, bool add_to_sums) {
    typename Dots::sums s[R * dots_rows] = {};
    if (add_to_sums) {
        GOLDFINCH_UNROLL
        for (std::size_t i = 0; i < R * dots_rows; ++i) s[i] = Dots::load_sums(sums + i * 16);
    }
    auto const add = [&](typename Dots::pairs const(&a)[R], bf16 const* at) GOLDFINCH_LAMBDA_INLINE {
        GOLDFINCH_UNROLL
        for (std::size_t t = 0; t < dots_rows; ++t) {
            typename Dots::pairs const xt = Dots::load_pairs(at + t * dots_step);
            GOLDFINCH_UNROLL
            for (std::size_t r = 0; r < R; ++r) Dots::add(s[r * dots_rows + t], a[r], xt);
        }
    };
    std::size_t k = 0;
    for (; k + dots_step <= n; k += dots_step, x += dots_rows * dots_step) {
        typename Dots::pairs a[R];
        GOLDFINCH_UNROLL
        for (std::size_t r = 0; r < R; ++r) {
            a[r] = Dots::load_pairs(w[r] + k);
            prefetch_ahead(w[r] + k, weights_ahead_l1, later);
        }
        add(a, x);
    }
    if (k < n) {
        typename Dots::pairs a[R];
        for (std::size_t r = 0; r < R; ++r) {
            bf16 filled[dots_step] = {};
            copy(w[r] + k, n - k, filled);
            a[r] = Dots::load_pairs(filled);
        }
        add(a, x);
    }
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < R * dots_rows; ++i) Dots::store_sums(sums + i * 16, s[i]);
}

/// to[i] = the sum of the 16 floats at x + 16 i, for i below n.
inline void sums_of_16(float const* x, std::size_t n, float* to) {
    if constexpr (lanes == 16) {
        sums(x, n, to);
    } else {
        for (std::size_t i = 0; i < n; ++i) {
            to[i] = 0;
            for (std::size_t j = 0; j < 16; ++j) to[i] += x[i * 16 + j];
        }
    }
}

/// y_t = w x_t for few rows, w stored [y.width, x.width].
template <class Dots>
void dots_few(cpu_executor const& at, bf16 const* w, rows<float const> const& x, rows<float> const& y) {
    constexpr std::size_t R = 3, most_columns = 32 * dots_step;  // of which a panel is 16 KiB, so that it stays in L1
    std::size_t const out = y.width, in = x.width, steps = ceil_div(in, dots_step), panels = ceil_div(x.size, dots_rows),
                      panel = steps * dots_rows * dots_step;
    temporaries memory(at);
    bf16* const packed = memory.array<bf16>(panels * panel);
    parallel(threads_for(at, panels * panel), panels * steps,
             [=](cpu_executor const&, std::size_t i) { pack_dots(x, i / steps, i % steps, packed + i * dots_rows * dots_step); });
    // Columns of a block; rows that are computed block by block, while their sums wait; rows of a task, whose weights are asked for in the order of
    // their use.
    std::size_t const blocks = max(1, ceil_div(in, most_columns)), block = ceil_div(steps, blocks) * dots_step;
    std::size_t const run = blocks == 1 ? R : ceil_div(max(1, 32768 / in), R) * R, share = max(1, ceil_div(out, 8 * at.threads * run)) * run;
    parallel(at, ceil_div(out, share), [=](cpu_executor const& alone, std::size_t task) {
        temporaries local(alone);
        std::size_t const end = min(out, (task + 1) * share), group = R * dots_rows * 16, of_run = run / R * group;
        float* const sums = local.array<float>(panels * of_run);
        for (std::size_t first = task * share; first < end; first += run) {
            std::size_t const n = min(run, end - first);
            for (std::size_t b = 0; b < blocks; ++b) {
                std::size_t const k = min(in, b * block), width = min(block, in - k),
                                  next = b + 1 < blocks ? block : max(run * in, weights_ahead_l2 / sizeof(bf16)) - k;
                for (std::size_t i = 0; i < n; i += R) {
                    bf16 const* rows_of_w[R];
                    for (std::size_t r = 0; r < R; ++r) rows_of_w[r] = w + (first + min(i + r, n - 1)) * in + k;
                    for (std::size_t p = 0; p < panels; ++p)
                        dots_of_rows<R, Dots>(rows_of_w, packed + p * panel + k * dots_rows, width, next * sizeof(bf16),
                                              sums + p * of_run + i / R * group, b > 0);
                }
            }
            for (std::size_t p = 0; p < panels; ++p)
                for (std::size_t i = 0; i < n; i += R) {
                    float totals[R * dots_rows];
                    sums_of_16(sums + p * of_run + i / R * group, R * dots_rows, totals);
                    for (std::size_t r = 0; r < R && i + r < n; ++r)
                        for (std::size_t t = 0; t < dots_rows && p * dots_rows + t < x.size; ++t)
                            y[p * dots_rows + t][first + i + r] = totals[r * dots_rows + t];
                }
        }
    });
}

/// The same for w stored [x.width, y.width]: pairs are two rows of it, side by side, and lanes are outputs.
template <class Dots>
void dots_few_transposed(cpu_executor const& at, bf16 const* w, rows<float const> const& x, rows<float> const& y) {
    constexpr std::size_t strip = 32, piece = 32, most_sums = 8192;  // outputs; pairs; floats that stay in L1
    std::size_t const out = y.width, in = x.width, pairs = ceil_div(in, 2), panels = ceil_div(x.size, dots_rows);
    temporaries memory(at);
    bf16* const packed = memory.array<bf16>(panels * pairs * dots_rows * 2);  // [panels, pairs, dots_rows, 2]
    parallel(threads_for(at, panels * pairs * dots_rows * 2), panels * dots_rows, [=](cpu_executor const&, std::size_t t) {
        bf16* const to = packed + (t / dots_rows * pairs * dots_rows + t % dots_rows) * 2;
        for (std::size_t k = 0; k < 2 * pairs; ++k) to[k / 2 * dots_rows * 2 + k % 2] = t < x.size && k < in ? bf16(x[t][k]) : bf16{};
    });
    std::size_t const strips = ceil_div(out, strip), share = ceil_div(strips, 2 * at.threads);
    std::size_t const run = strip * min(max(1, share), max(1, most_sums / max(1, panels * dots_rows * strip)));
    parallel(at, ceil_div(out, run), [=](cpu_executor const& alone, std::size_t task) {
        std::size_t const first = task * run, n = min(run, out - first), here = ceil_div(n, strip), of_strip = panels * dots_rows * strip;
        temporaries local(alone);
        float* const sums = local.array<float>(here * of_strip);  // [here, panels, dots_rows, 2, 16]
        fill(sums, here * of_strip, 0);
        for (std::size_t begin = 0; begin < pairs; begin += piece) {
            std::size_t const end = min(pairs, begin + piece);
            std::size_t row = 2 * end, line = 0;  // what is asked for: the rows of the next piece, in order
            for (std::size_t s = 0; s < here; ++s) {
                std::size_t const left = min(strip, n - s * strip);
                for (std::size_t p = 0; p < panels; ++p) {
                    float* const to = sums + s * of_strip + p * dots_rows * strip;
                    typename Dots::sums low_sums[dots_rows], high_sums[dots_rows];
                    GOLDFINCH_UNROLL
                    for (std::size_t t = 0; t < dots_rows; ++t)
                        low_sums[t] = Dots::load_sums(to + t * strip), high_sums[t] = Dots::load_sums(to + t * strip + 16);
                    for (std::size_t q = begin; q < end; ++q) {
                        bf16 const* const a = w + 2 * q * out + first + s * strip;
                        bf16 const* const b = 2 * q + 1 < in ? a + out : a;
                        typename Dots::pairs low, high;
                        if (left == strip) {
                            Dots::interleave(a, b, low, high);
                        } else {
                            bf16 filled[2][strip] = {};
                            copy(a, left, filled[0]), copy(b, left, filled[1]);
                            Dots::interleave(filled[0], filled[1], low, high);
                        }
                        if (p == 0) {
                            prefetch_line(a + strip), prefetch_line(b + strip);
                            for (std::size_t i = 0; i < 2 && row < in; ++i) {
                                prefetch_later(w + row * out + first + line * strip);
                                if (++line == here) line = 0, ++row;
                            }
                        }
                        bf16 const* const x_of_pair = packed + (p * pairs + q) * dots_rows * 2;
                        GOLDFINCH_UNROLL
                        for (std::size_t t = 0; t < dots_rows; ++t) {
                            typename Dots::pairs const xt = Dots::broadcast_pair(x_of_pair + 2 * t);
                            Dots::add(low_sums[t], low, xt), Dots::add(high_sums[t], high, xt);
                        }
                    }
                    GOLDFINCH_UNROLL
                    for (std::size_t t = 0; t < dots_rows; ++t)
                        Dots::store_sums(to + t * strip, low_sums[t]), Dots::store_sums(to + t * strip + 16, high_sums[t]);
                }
            }
        }
        for (std::size_t s = 0; s < here; ++s)
            for (std::size_t t = 0; t < x.size; ++t)
                for (std::size_t i = 0; i < strip; ++i) {
                    std::size_t const o = s * strip + i % 16 / 4 * 8 + i / 16 * 4 + i % 4;  // where interleave puts an output
                    if (o < n) y[t][first + o] = sums[s * of_strip + t * strip + i];
                }
    });
}

/// y_t = w x_t, x rounded: a row has the same bits whatever rows are beside it, and however many.
template <class Tiles, bool Transposed>
void invariant_product_of_bf16(cpu_executor const& at, bf16 const* w, rows<float const> const& x, rows<float> const& y) {
    if constexpr (Transposed && takes_dots<Tiles>)
        if (x.size <= dots_rows) return dots_few_transposed<Tiles>(at, w, x, y);  // adds in the same order
    product_of_bf16<Tiles, 1, Transposed>(at, w, x, y);
}

}  // namespace kernel
}  // namespace GOLDFINCH_TARGET
}  // namespace goldfinch
