// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include <goldfinch/backend/simd/kernels/linear.hpp>

// Products whose x is often zero, with weights stored [in, out]: with few tokens the rows of zeros are not read.

namespace goldfinch {
inline namespace GOLDFINCH_TARGET {
namespace kernel {

/// Rows of weights that are added to sums at once, which then are loaded and stored so many times less often.
inline constexpr std::size_t added_rows = many_registers ? 8 : 4;

/// Writes the columns of x in which any row is not zero to `to`, in order. Returns how many they are.
inline std::size_t find_used(rows<float const> const& x, std::uint32_t* bits, std::uint32_t* to) {
    constexpr std::uint32_t magnitude = 0x7fffffff;
    for (std::size_t k = 0; k < x.width; ++k) bits[k] = 0;
    for (std::size_t t = 0; t < x.size; ++t) {
        float const* const row = x[t];
        for (std::size_t k = 0; k < x.width; ++k) bits[k] |= detail::bits_as<std::uint32_t>(row[k]) & magnitude;
    }
    std::size_t n = 0;
    for (std::size_t k = 0; k < x.width; ++k) {
        to[n] = static_cast<std::uint32_t>(k);
        n += bits[k] != 0;
    }
    return n;
}

/// sums [tokens, width] += x [tokens, added_rows] times rows of w, one after another, where whole pairs of sums are as load_half gives those of w. What is at
/// `later` is asked for meanwhile.
template <class Weight>
void add_rows(Weight const* const (&w)[added_rows], Weight const* const (&later)[added_rows], float const* x, std::size_t tokens, std::size_t width,
              float* sums, std::size_t stride) {
    constexpr std::size_t a_line = 64 / sizeof(Weight), soon = weights_ahead_l1 / sizeof(Weight);
    std::size_t c = 0;
    for (; c + pair <= width; c += pair) {
        vec a[added_rows], b[added_rows];
        GOLDFINCH_UNROLL
        for (std::size_t i = 0; i < added_rows; ++i) {
            a[i] = load_half<0>(w[i] + c), b[i] = load_half<1>(w[i] + c);
            GOLDFINCH_UNROLL
            for (std::size_t line = 0; line < pair; line += a_line)
                if ((c + line) % a_line == 0) prefetch_lines(w[i] + (c + line + soon < width ? c + line + soon : c), later[i] + c + line);
        }
        for (std::size_t t = 0; t < tokens; ++t) {
            float* const at = sums + t * stride + c;
            vec first = load(at), second = load(at + lanes);
            GOLDFINCH_UNROLL
            for (std::size_t i = 0; i < added_rows; ++i) {
                vec const xi = broadcast(x[t * added_rows + i]);
                first = multiply_add(xi, a[i], first), second = multiply_add(xi, b[i], second);
            }
            store(at, first), store(at + lanes, second);
        }
    }
    for (; c < width; c += lanes)
        for (std::size_t t = 0; t < tokens; ++t) {
            vec sum = load(sums + t * stride + c);
            for (std::size_t i = 0; i < added_rows; ++i) sum = multiply_add(broadcast(x[t * added_rows + i]), load(w[i] + c, width - c), sum);
            store(sums + t * stride + c, sum);
        }
}

/// A task has some columns, whose sums stay in L1. Each sum runs over the depth in order; what is zero for all tokens adds nothing.
template <class Weight>
void sparse_few(cpu_executor const& at, Weight const* w, rows<float const> const& x, rows<float> const& y) {
    constexpr std::size_t most_sums = 8192, least_bytes = 1024;
    std::size_t const in = x.width, out = y.width, tokens = x.size;
    temporaries memory(at);
    auto* const used = memory.array<std::uint32_t>(in + 1);
    std::size_t const n = find_used(x, memory.array<std::uint32_t>(in), used);
    // The used columns, as many at a time as rows are added: [tokens, added_rows].
    std::size_t const depth = ceil_div(n, added_rows) * added_rows;
    float* const xs = memory.array<float>(depth * tokens);
    parallel(threads_for(at, depth * tokens), ceil_div(depth, 512), [=](cpu_executor const&, std::size_t task) {
        for (std::size_t t = 0; t < tokens; ++t) {
            float const* const from = x[t];
            for (std::size_t k = task * 512, end = min(depth, k + 512); k < end; ++k)
                xs[(k / added_rows * tokens + t) * added_rows + k % added_rows] = k < n ? from[used[k]] : 0;
        }
    });
    std::size_t const share = ceil_div(ceil_div(out, at.threads), pair) * pair;
    std::size_t const run = min(max(share, least_bytes / sizeof(Weight)), max(pair, most_sums / max(1, tokens) / pair * pair));
    parallel(at, ceil_div(out, run), [=](cpu_executor const& alone, std::size_t task) {
        std::size_t const first = task * run, width = min(run, out - first), ahead = max(added_rows, weights_ahead_l2 / (width * sizeof(Weight)));
        temporaries local(alone);
        std::size_t const stride = run + pair;  // no multiple of 4 KiB: loads would wait for stores to other tokens' sums
        float* const sums = local.array<float>(tokens * stride);
        fill(sums, tokens * stride, 0);
        auto const row = [=](std::size_t i) { return w + used[min(i, n - 1)] * out + first; };
        for (std::size_t k = 0; k < n; k += added_rows) {
            Weight const *now[added_rows], *later[added_rows];
            for (std::size_t i = 0; i < added_rows; ++i) now[i] = row(k + i), later[i] = row(k + i + ahead);
            add_rows<Weight>(now, later, xs + k * tokens, tokens, width, sums, stride);
        }
        for (std::size_t t = 0; t < tokens; ++t) {
            float* const to = sums + t * stride;
            if constexpr (splits_pairs<Weight>)
                for (std::size_t c = 0; c + pair <= width; c += pair) {
                    vec a = load(to + c), b = load(to + c + lanes);
                    interleave(a, b);
                    store(to + c, a), store(to + c + lanes, b);
                }
            copy(to, width, y[t] + first);
        }
    });
}

/// y_t = x_t w for w stored [x.width, y.width].
template <element Weight>
void sparse_linear(cpu_executor const& at, Weight const* w, rows<float const> x, rows<float> y) {
    few_or_many<Weight, true>(at, w, x, y, sparse_few<Weight>);
}

}  // namespace kernel
}  // namespace GOLDFINCH_TARGET
}  // namespace goldfinch
