// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include <goldfinch/backend/simd/kernels/linear.hpp>
#include <goldfinch/backend/simd/quantized.hpp>

namespace goldfinch {
inline namespace GOLDFINCH_TARGET {
namespace kernel {

template <class T>
inline constexpr std::size_t packed_bits = 0;
template <std::size_t Bits>
inline constexpr std::size_t packed_bits<detail::packed_integers<Bits>> = Bits;

/// A row as floats. Writes whole words: up to 32 / Bits - 1 floats behind the row.
template <std::size_t Bits>
void dequantize(std::byte const* packed, std::byte const* scale, std::size_t columns, float* y) {
    constexpr std::size_t in_word = 32 / Bits;
    constexpr std::uint32_t mask = (1u << Bits) - 1;
    constexpr int zero = 1 << (Bits - 1);
    for (std::size_t first = 0; first < columns; first += detail::quantized_block, scale += 2) {
        std::uint16_t bits;
        __builtin_memcpy(&bits, scale, 2);
        float const step = detail::bits_as<float>(std::uint32_t{bits} << 16);
        std::size_t const last = min(columns, first + detail::quantized_block);
        for (std::size_t i = first; i < last; i += in_word, packed += 4) {
            std::uint32_t word;
            __builtin_memcpy(&word, packed, 4);
            for (std::size_t j = 0; j < in_word; ++j) y[i + j] = static_cast<float>(static_cast<int>(word >> (Bits * j) & mask) - zero) * step;
        }
    }
}

/// y_t = w x_t for integers w [y.width, x.width]: rows of w become floats in the cache, some at a time, and are multiplied there.
template <class T>
requires(packed_bits<T> != 0) void linear(cpu_executor const& at, detail::packed_rows w, rows<float const> x, rows<float> y) {
    constexpr std::size_t bits = packed_bits<T>, slack = 32 / bits, in_few = many_registers ? 6 : 4;
    std::size_t const in = x.width, out = y.width, words = 4 * detail::words_of(bits, in), scales = 2 * detail::blocks_of(in);
    auto const rows_as_floats = [=](std::size_t first, std::size_t n, float* to) {
        for (std::size_t r = 0; r < n; ++r) dequantize<bits>(w.packed + (first + r) * words, w.scale + (first + r) * scales, in, to + r * in);
    };
    if (x.size <= few_tokens && !at.batch_invariant) {
        std::size_t const group = ceil_div(max(1, 65536 / max(1, words)), in_few) * in_few;
        return parallel(at, ceil_div(out, group), [=](cpu_executor const& alone, std::size_t task) {
            temporaries memory(alone);
            float* const some = memory.array<float>(in_few * in + slack);
            for (std::size_t r = task * group, end = min(out, r + group); r < end; r += in_few) {
                std::size_t const n = min(in_few, end - r);
                rows_as_floats(r, n, some);
                if (n == in_few) dots_of_all<in_few>(some, in, x.data, x.stride, y.data + r, y.stride, x.size, some);
                else
                    for (std::size_t i = 0; i < n; ++i) dots_of_all<1>(some + i * in, in, x.data, x.stride, y.data + r + i, y.stride, x.size, some + i * in);
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
