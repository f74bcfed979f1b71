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

/// Columns of x in a piece of a sum, a whole number of blocks of integers: pieces are summed up one by one, and their sums in order.
inline constexpr std::size_t piece_inputs = 256;

/// A mark of a column that is there again, and not to be multiplied.
inline constexpr std::uint32_t again = 0x80000000u;

/// Appends the columns [first, last) of x, at most piece_inputs, in which any row is not zero, to the n at `to`, in order. Returns how many they are
/// then.
inline std::size_t find_used(rows<float const> const& x, std::size_t first, std::size_t last, std::uint32_t* to, std::size_t n) {
    constexpr std::uint32_t magnitude = 0x7fffffff;
    std::uint32_t bits[piece_inputs] = {};
    for (std::size_t t = 0; t < x.size; ++t) {
        float const* const row = x[t] + first;
        for (std::size_t k = 0; k < last - first; ++k) bits[k] |= detail::bits_as<std::uint32_t>(row[k]) & magnitude;
    }
    for (std::size_t k = 0; k < last - first; ++k) {
        to[n] = static_cast<std::uint32_t>(first + k);
        n += bits[k] != 0;
    }
    return n;
}

/// sums [tokens, width] += x [tokens, added_rows] times rows of w, one after another, where whole pairs of sums are as load_half gives those of w.
/// What is at `later` is asked for meanwhile.
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

GOLDFINCH_NOINLINE inline void add_to_sums(float const* x, std::size_t n, float* sums) {
    each_vector(n, [&](std::size_t i, std::size_t count) { store(sums + i, load(sums + i, count) + load(x + i, count), count); });
}

/// A sum's pieces: add(body, piece, first, n, sums, stride) adds a piece's products for outputs [first, first + n) to sums [tokens, n], and
/// finish(body, t, first, n, sums) takes what they come to.
struct pieces_of_sums {
    void const* body;
    void (*add)(void const* body, std::size_t piece, std::size_t first, std::size_t n, float* sums, std::size_t stride);
    void (*finish)(void const* body, std::size_t t, std::size_t first, std::size_t n, float const* sums);
};

/// Sums up all pieces. Outputs come in multiples of `unit`. Few tokens are cut into pieces, whose rows of weights are read as they lie in memory; for
/// more, whose sums of all pieces would not stay in the caches, outputs are. The sums have the same bits.
inline void sum_pieces(cpu_executor const& at, std::size_t pieces, std::size_t tokens, std::size_t outputs, std::size_t unit,
                       pieces_of_sums const& of) {
    constexpr std::size_t most_kept = std::size_t{1} << 18, most_sums = 8192;
    if (outputs == 0) return;
    temporaries memory(at);
    if (pieces > 0 && pieces >= at.threads && tokens * pieces * outputs <= most_kept) {
        // No multiple of 4 KiB, here and below: loads would wait for stores to other tokens' sums.
        std::size_t const stride = outputs + (tokens > 1 ? pair : 0), size = tokens * stride;
        float* const kept = memory.array<float>(pieces * size);
        parallel(at, pieces, [=](cpu_executor const&, std::size_t piece) {
            fill(kept + piece * size, size, 0);
            of.add(of.body, piece, 0, outputs, kept + piece * size, stride);
        });
        for (std::size_t piece = 1; piece < pieces; ++piece) add_to_sums(kept + piece * size, size, kept);
        for (std::size_t t = 0; t < tokens; ++t) of.finish(of.body, t, 0, outputs, kept + t * stride);
        return;
    }
    std::size_t const share = ceil_div(ceil_div(outputs, at.threads), unit), run = unit * min(share, max(1, most_sums / max(1, tokens) / unit));
    parallel(at, ceil_div(outputs, run), [=](cpu_executor const& alone, std::size_t task) {
        std::size_t const first = task * run, n = min(run, outputs - first);
        temporaries local(alone);
        std::size_t const stride = run + pair;
        float* const totals = local.array<float>(tokens * stride);
        float* const sums = local.array<float>(tokens * stride);
        for (std::size_t piece = 0; piece < max(1, pieces); ++piece) {
            float* const to = piece == 0 ? totals : sums;
            fill(to, tokens * stride, 0);
            if (piece < pieces) of.add(of.body, piece, first, n, to, stride);
            if (piece > 0) add_to_sums(sums, tokens * stride, totals);
        }
        for (std::size_t t = 0; t < tokens; ++t) of.finish(of.body, t, first, n, totals + t * stride);
    });
}

/// The same for functions whose types are erased, so that the loops above are compiled once for all.
template <class Add, class Finish>
struct erased_pieces {
    Add const& add_to;
    Finish const& finish_of;
    static void add(void const* body, std::size_t piece, std::size_t first, std::size_t n, float* sums, std::size_t stride) {
        static_cast<erased_pieces const*>(body)->add_to(piece, first, n, sums, stride);
    }
    static void finish(void const* body, std::size_t t, std::size_t first, std::size_t n, float const* sums) {
        static_cast<erased_pieces const*>(body)->finish_of(t, first, n, sums);
    }
};
template <class Add, class Finish>
void sum_pieces(cpu_executor const& at, std::size_t pieces, std::size_t tokens, std::size_t outputs, std::size_t unit, Add const& add,
                Finish const& finish) {
    using erased = erased_pieces<Add, Finish>;
    erased const both{add, finish};
    sum_pieces(at, pieces, tokens, outputs, unit, {&both, erased::add, erased::finish});
}

/// Each sum runs over the used columns of a piece in order; what is zero for all tokens adds nothing.
template <class Weight>
void sparse_few(cpu_executor const& at, Weight const* w, rows<float const> const& x, rows<float> const& y) {
    std::size_t const in = x.width, out = y.width, tokens = x.size, pieces = ceil_div(in, piece_inputs);
    temporaries memory(at);
    // The used columns of each piece, as many at a time as rows are added, the last one again where that leaves some over: then x is 0.
    static_assert(piece_inputs % added_rows == 0);
    auto* const used = memory.array<std::uint32_t>(pieces * piece_inputs);
    auto* const begin = memory.array<std::uint32_t>(pieces + 1);
    std::size_t n = 0;
    for (std::size_t piece = 0; piece < pieces; ++piece) {
        begin[piece] = static_cast<std::uint32_t>(n);
        n = find_used(x, piece * piece_inputs, min(in, (piece + 1) * piece_inputs), used, n);
        for (; n % added_rows != 0; ++n) used[n] = used[n - 1] | again;
    }
    begin[pieces] = static_cast<std::uint32_t>(n);
    float* const xs = memory.array<float>(n * tokens);  // [n / added_rows, tokens, added_rows]
    parallel(threads_for(at, n * tokens), ceil_div(n, 512), [=](cpu_executor const&, std::size_t task) {
        for (std::size_t t = 0; t < tokens; ++t) {
            float const* const from = x[t];
            for (std::size_t k = task * 512, end = min(n, k + 512); k < end; ++k)
                xs[(k / added_rows * tokens + t) * added_rows + k % added_rows] = (used[k] & again) == 0 ? from[used[k]] : 0;
        }
    });
    auto const add = [=](std::size_t piece, std::size_t first, std::size_t width, float* sums, std::size_t stride) {
        std::size_t const ahead = max(added_rows, weights_ahead_l2 / (width * sizeof(Weight))), there = min(width, out - first);
        auto const row = [=](std::size_t i) { return w + (used[min(i, n - 1)] & ~again) * out + first; };
        for (std::size_t k = begin[piece]; k < begin[piece + 1]; k += added_rows) {
            Weight const *now[added_rows], *later[added_rows];
            for (std::size_t i = 0; i < added_rows; ++i) now[i] = row(k + i), later[i] = row(k + i + ahead);
            add_rows<Weight>(now, later, xs + k * tokens, tokens, there, sums, stride);
        }
    };
    sum_pieces(at, pieces, tokens, ceil_div(out, pair) * pair, pair, add,
               [=](std::size_t t, std::size_t first, std::size_t width, float const* sums) {
                   std::size_t const there = min(width, out - first);
                   float* const to = y[t] + first;
                   std::size_t c = 0;
                   if constexpr (splits_pairs<Weight>)
                       for (; c + pair <= there; c += pair) {
                           vec a = load(sums + c), b = load(sums + c + lanes);
                           interleave(a, b);
                           store(to + c, a), store(to + c + lanes, b);
                       }
                   copy(sums + c, there - c, to + c);
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
