// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include <goldfinch/backend/simd/kernels/amx_integers.hpp>
#include <goldfinch/backend/simd/kernels/dotprod.hpp>
#include <goldfinch/backend/simd/kernels/integers.hpp>
#include <goldfinch/backend/simd/kernels/linear.hpp>
#include <goldfinch/backend/simd/kernels/vnni.hpp>
#include <goldfinch/backend/simd/kernels/vnni_many.hpp>
#include <goldfinch/backend/simd/quantized.hpp>

namespace goldfinch {
inline namespace GOLDFINCH_TARGET {
namespace kernel {

template <class T>
inline constexpr std::size_t packed_bits = 0;
template <std::size_t Bits>
inline constexpr std::size_t packed_bits<detail::packed_integers<Bits>> = Bits;

/// y [Tokens, Rows] = x w^T for rows of w from `row` on, unpacked in registers; `end` columns are whole groups, for which x is in the groups'
/// order, and rest [Tokens, columns - end] of x is not. Each sum runs over the depth by vectors, whatever Rows and Tokens are.
template <std::size_t Bits, std::size_t Rows, std::size_t Tokens>
void packed_dots(packed_matrix const& w, std::size_t row, std::size_t end, float const* x, std::size_t x_stride, float const* rest, std::size_t rest_stride,
                 float* y, std::size_t y_stride) {
    using group = integers<Bits>;
    constexpr std::size_t vectors = group::columns / lanes, bytes = group::columns * Bits / 8, scales = group::columns / detail::quantized_block * 2;
    vec s[Rows * Tokens];
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < Rows * Tokens; ++i) s[i] = broadcast(0);
    std::size_t at = 0, at_scale = 0;
    for (std::size_t k = 0; k < end; k += group::columns, at += bytes, at_scale += scales) {
        GOLDFINCH_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            std::byte const* const p = w.packed(row + r) + at;
            prefetch_weights(p);
            vec part[Tokens];
            GOLDFINCH_UNROLL
            for (std::size_t t = 0; t < Tokens; ++t) part[t] = broadcast(0);
            GOLDFINCH_UNROLL
            for (std::size_t i = 0; i < vectors; ++i) {
                vec const value = group::value(p, i);
                GOLDFINCH_UNROLL
                for (std::size_t t = 0; t < Tokens; ++t) part[t] = multiply_add(value, load(x + t * x_stride + k + i * lanes), part[t]);
            }
            vec const scale = group::scale(w.scale(row + r) + at_scale);
            GOLDFINCH_UNROLL
            for (std::size_t t = 0; t < Tokens; ++t) s[r * Tokens + t] = multiply_add(part[t], scale, s[r * Tokens + t]);
        }
    }
    alignas(alignment) float ends[Rows * Tokens * lanes];
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < Rows * Tokens; ++i) store(ends + i * lanes, s[i]);
    for (std::size_t r = 0; r < Rows; ++r) {
        float values[group::columns + 32 / Bits];
        std::size_t const n = w.columns - end;
        dequantize<Bits>(w.packed(row + r) + at, w.scale(row + r) + at_scale, n, values);
        for (std::size_t t = 0; t < Tokens; ++t) {
            vec sums = load(ends + (r * Tokens + t) * lanes);
            each_vector(n, [&](std::size_t i, std::size_t count) { sums = multiply_add(load(values + i, count), load(rest + t * rest_stride + i, count), sums); });
            y[t * y_stride + r] = sum(sums);
        }
    }
}

/// All tokens for Rows rows, which stay in L1 meanwhile.
template <std::size_t Bits, std::size_t Rows>
void packed_dots_of_all(packed_matrix const& w, std::size_t row, std::size_t end, float const* x, std::size_t x_stride, float const* rest,
                        std::size_t rest_stride, float* y, std::size_t y_stride, std::size_t tokens) {
    by_runs<tokens_at_once>(tokens, [&](auto run, std::size_t t) GOLDFINCH_LAMBDA_INLINE {
        packed_dots<Bits, Rows, run.size>(w, row, end, x + t * x_stride, x_stride, rest + t * rest_stride, rest_stride, y + t * y_stride, y_stride);
    });
}

/// y_t = w x_t for few tokens.
template <std::size_t Bits>
void packed_few(cpu_executor const& at, packed_matrix const& w, rows<float const> x, rows<float> y) {
    using group = integers<Bits>;
    constexpr std::size_t rows_at_once = 4;
    std::size_t const in = x.width, out = y.width, end = in / group::columns * group::columns;
    temporaries memory(at);
    float* const in_order = group::stride == 1 ? nullptr : memory.array<float>(x.size * end);
    if constexpr (group::stride > 1)
        for (std::size_t t = 0; t < x.size; ++t)
            for (std::size_t k = 0; k < end; k += group::columns)
                for (std::size_t i = 0; i < group::columns / lanes; ++i)
                    for (std::size_t l = 0; l < lanes; ++l) in_order[t * end + k + i * lanes + l] = x[t][k + group::first(i) + l * group::stride];
    float const* const grouped = group::stride == 1 ? x.data : in_order;
    std::size_t const stride = group::stride == 1 ? x.stride : end;
    std::size_t const run = ceil_div(max(1, 65536 / max(1, w.row_bytes)), rows_at_once) * rows_at_once;
    parallel(at, ceil_div(out, run), [=](cpu_executor const&, std::size_t task) {
        std::size_t r = task * run;
        std::size_t const last = min(out, r + run);
        for (; r + rows_at_once <= last; r += rows_at_once)
            packed_dots_of_all<Bits, rows_at_once>(w, r, end, grouped, stride, x.data + end, x.stride, y.data + r, y.stride, x.size);
        for (; r < last; ++r) packed_dots_of_all<Bits, 1>(w, r, end, grouped, stride, x.data + end, x.stride, y.data + r, y.stride, x.size);
    });
}

#if GOLDFINCH_AVX512_VNNI || GOLDFINCH_NEON_DOTPROD

/// y_t = w x_t for any number of tokens, x rounded to 16 bits, or, where that is faster, to 8 for many.
template <std::size_t Bits, class Matrix>
void rounded_product(cpu_executor const& at, Matrix const& w, rows<float const> x, rows<float> y) {
#if GOLDFINCH_AVX512_VNNI
#if GOLDFINCH_AMX
    if (at.batch_invariant) return product_of_integers<hardware_tiles, Bits, 2>(at, w, x, y);
    if (x.size > few_rows) return product_of_integers<hardware_tiles, Bits, 1>(at, w, x, y);
#endif
    constexpr std::size_t at_once = 512;  // bounds the rounded copy of x
    auto const many = x.size > few_rows && !at.batch_invariant ? rounded_many<Bits, 1, Matrix> : rounded_many<Bits, 2, Matrix>;
    for (std::size_t t = 0; t < x.size; t += at_once) {
        std::size_t const n = min(at_once, x.size - t);
        many(at, w, {x[t], n, x.stride, x.width}, {y[t], n, y.stride, y.width});
    }
#else
    dotprod_product<Bits>(at, w, x, y);
#endif
}

#endif

/// y_t = w x_t for integers w [y.width, x.width]. VNNI and AMX multiply with x rounded to 16 bits, or to 8 for many tokens, unless rows must not
/// depend on how many there are. Where integers are not unpacked in registers, rows of w become floats in the cache, some at a time, and are
/// multiplied there.
template <class T>
requires(packed_bits<T> != 0) void linear(cpu_executor const& at, detail::packed_rows w, rows<float const> x, rows<float> y) {
    constexpr std::size_t bits = packed_bits<T>, slack = 32 / bits, in_few = many_registers ? 6 : 4;
    std::size_t const in = x.width, out = y.width, words = 4 * detail::words_of(bits, in), scales = 2 * detail::blocks_of(in);
    auto const rows_as_floats = [=](std::size_t first, std::size_t n, float* to) {
        for (std::size_t r = 0; r < n; ++r) dequantize<bits>(w.packed + (first + r) * words, w.scale + (first + r) * scales, in, to + r * in);
    };
#if GOLDFINCH_AVX512_VNNI
#if GOLDFINCH_AMX
    bool const few = x.size <= most_vnni_tokens() && !at.batch_invariant;
#else
    bool const few = x.size <= most_vnni_tokens();
#endif
    packed_matrix const rows_of_weights{w, in, words, scales};
    return few ? rounded_few<bits>(at, rows_of_weights, x, y) : rounded_product<bits>(at, rows_of_weights, x, y);
#elif GOLDFINCH_NEON_DOTPROD
    if constexpr (in_registers<bits>) return rounded_product<bits>(at, packed_matrix{w, in, words, scales}, x, y);
#endif
    if (x.size <= few_rows && !at.batch_invariant) {
        if constexpr (in_registers<bits>) return packed_few<bits>(at, {w, in, words, scales}, x, y);
        std::size_t const group = ceil_div(max(1, 65536 / max(1, words)), in_few) * in_few;
        return parallel(at, ceil_div(out, group), [=](cpu_executor const& alone, std::size_t task) {
            temporaries memory(alone);
            float* const some = memory.array<float>(in_few * in + slack);
            for (std::size_t r = task * group, end = min(out, r + group); r < end; r += in_few) {
                std::size_t const n = min(in_few, end - r);
                rows_as_floats(r, n, some);
                if (n == in_few) dots_of_all<in_few>(some, in, x.data, x.stride, y.data + r, y.stride, x.size);
                else
                    for (std::size_t i = 0; i < n; ++i) dots_of_all<1>(some + i * in, in, x.data, x.stride, y.data + r + i, y.stride, x.size);
            }
        });
    }
    constexpr std::size_t most_floats = std::size_t{1} << 20;
    std::size_t const slab = max(tile_rows, most_floats / in / tile_rows * tile_rows), run = 16;
    temporaries memory(at);
    float* const some = memory.array<float>(min(slab, out) * in + run * slack);
    for (std::size_t r = 0; r < out; r += slab) {
        std::size_t const n = min(slab, out - r), runs = ceil_div(n, run);
        // Rows write behind their ends: the last of a run to memory of its own, so that no thread writes what is another's.
        parallel(at, runs, [=](cpu_executor const& alone, std::size_t i) {
            std::size_t const first = i * run, count = min(run, n - first);
            rows_as_floats(r + first, count - 1, some + first * in);
            temporaries local(alone);
            float* const last = local.array<float>(in + slack);
            rows_as_floats(r + first + count - 1, 1, last);
            copy(last, in, some + (first + count - 1) * in);
        });
        kernel::linear<float>(at, some, x, rows<float>{y.data + r, y.size, y.stride, n});
    }
}

}  // namespace kernel
}  // namespace GOLDFINCH_TARGET
}  // namespace goldfinch
