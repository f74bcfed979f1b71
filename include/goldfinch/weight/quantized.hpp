// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include <goldfinch/numeric.hpp>
#include <goldfinch/weight/format.hpp>

// Weights as integers of a few bits with a scale for each block of a row: element = (u - 2^(bits - 1)) * scale, u unsigned. The integers
// are packed in 32-bit words, the first in the lowest bits, and rows padded to whole words, as compressed-tensors packs them:
//
//     word    | u_7 u_6 u_5 u_4 u_3 u_2 u_1 u_0 | u_15 ... u_8 | ...          (4 bits; four of them in a word with 8)
//     scale   | of elements 0 to 63             | of 64 to 127 | ...

namespace goldfinch {

namespace detail {

/// Elements of a row that share a scale, which is then a quarter of a bit an element, where blocks of 32 take half a bit. Over all its held-out text, in
/// windows of 2,048 bytes, the bundled model's loss rises with 4 bits by 0.2 % in blocks of 64, and by nothing in blocks of 32; by 0.4 % and 0.2 % where the
/// largest number decides the scale. With 8 bits it stays within 0.03 %, so there is no search.
inline constexpr std::size_t quantized_block = 64;

/// Bits of the integers that a weight format names; 0: it names none.
template <class Weight>
inline constexpr std::size_t packed_bits = 0;

// In a backend's table of kernels: what stands at an index, and the name of integers of so many bits.
template <std::size_t index>
struct weight_type_at;
template <std::size_t Bits>
struct packed_integers;

constexpr std::size_t words_of(std::size_t bits, std::size_t columns) { return (columns * bits + 31) / 32; }
constexpr std::size_t blocks_of(std::size_t columns, std::size_t per_block = quantized_block) { return (columns + per_block - 1) / per_block; }

/// Integers of so many bits as weights, of 1, 2, 4, 8 or 16 bits, in blocks of any size.
class quantized_format final : public weight_format {
public:
    explicit constexpr quantized_format(std::size_t bits, std::size_t per_block = quantized_block) : bits_(bits), block_(per_block) {}

    std::string_view name() const override { return "packed"; }
    std::size_t n_planes() const override { return 2; }
    weight_plane plane(std::size_t i, std::size_t columns) const override {
        std::size_t const words = words_of(bits_, columns), scales = blocks_of(columns, block_);
        return i == 0 ? weight_plane{"_packed", "I32", words, 4 * words, columns, bits_} : weight_plane{"_scale", "BF16", scales, 2 * scales, scales, 16};
    }
    bool keeps_shape() const override { return true; }

    void encode(double const* row, std::size_t columns, std::byte* const* planes) const override {
        std::memset(planes[0], 0, 4 * words_of(bits_, columns));
        for (std::size_t b = 0; b < blocks_of(columns, block_); ++b) {
            std::size_t const first = b * block_, n = std::min(block_, columns - first);
            bf16 const scale = best_scale(row + first, n);
            double const inverse = inverse_of(scale);
            for (std::size_t i = 0; i < n; ++i) put(planes[0], first + i, static_cast<std::uint32_t>(rounded(row[first + i], inverse) + zero()));
            std::memcpy(planes[1] + 2 * b, &scale, 2);
        }
    }
    void decode(std::byte const* const* planes, std::size_t columns, double* row) const override {
        for (std::size_t i = 0; i < columns; ++i) {
            std::uint32_t word;
            bf16 scale;
            std::memcpy(&word, planes[0] + i * bits_ / 32 * 4, 4);
            std::memcpy(&scale, planes[1] + i / block_ * 2, 2);
            int const u = static_cast<int>(word >> (i * bits_ % 32) & mask());
            row[i] = (u - zero()) * static_cast<double>(static_cast<float>(scale));
        }
    }
    void bind(void* view, std::byte const* const* planes) const override { std::copy_n(planes, 2, static_cast<std::byte const**>(view)); }
    void planes_of(void const* view, std::byte const** planes) const override { std::copy_n(static_cast<std::byte const* const*>(view), 2, planes); }

private:
    std::uint32_t mask() const { return (1u << bits_) - 1; }
    int zero() const { return 1 << (bits_ - 1); }
    static double inverse_of(bf16 scale) { return scale.bits % 0x8000u != 0 && is_finite(scale) ? 1 / static_cast<double>(static_cast<float>(scale)) : 0; }

    /// x as a multiple of a scale, of which `inverse` is 1 over it, or 0: then x may be anything.
    int rounded(double x, double inverse) const {
        if (inverse == 0) return 0;
        double const q = std::clamp(x * inverse, -static_cast<double>(zero()), static_cast<double>(zero() - 1));
        return static_cast<int>(q + zero() + 0.5) - zero();
    }
    void put(std::byte* words, std::size_t i, std::uint32_t u) const {
        std::uint32_t word;
        std::memcpy(&word, words + i * bits_ / 32 * 4, 4);
        word |= u << (i * bits_ % 32);
        std::memcpy(words + i * bits_ / 32 * 4, &word, 4);
    }

    /// The scale with the least squared error among some about the one that takes the largest magnitude to the end of the range. Where a number is
    /// not finite it is NaN, so that it shows.
    bf16 best_scale(double const* x, std::size_t n) const {
        double extreme = 0;
        for (std::size_t i = 0; i < n; ++i) {
            if (!is_finite(x[i])) return std::bit_cast<bf16>(std::uint16_t{0x7fc0});
            if (std::abs(x[i]) > std::abs(extreme)) extreme = x[i];
        }
        double const whole = extreme / -static_cast<double>(zero());  // the range has one integer more below zero than above
        constexpr double shares[] = {1, 0.95, 0.9, 0.85, 1.07};
        bf16 best(whole);
        double least = -1;
        for (double const share : shares) {
            bf16 scale(whole * share);
            double error = squared_error(x, n, scale);
            if (least < 0 || error < least) least = error, best = scale;
            if (bits_ >= 8) break;  // the steps are so small that there is nothing to win
        }
        return best;
    }
    double squared_error(double const* x, std::size_t n, bf16 scale) const {
        double const step = static_cast<double>(static_cast<float>(scale)), inverse = inverse_of(scale);
        double sum = 0;
        for (std::size_t i = 0; i < n; ++i) {
            double const e = x[i] - rounded(x[i], inverse) * step;
            sum += e * e;
        }
        return sum;
    }

    std::size_t bits_, block_;
};

template <std::size_t Bits>
inline constexpr quantized_format quantized_format_of{Bits};

}  // namespace detail

/// [Out, In] weights of Bits bits: a view.
template <std::size_t Bits, std::size_t Out, std::size_t In>
struct quantized_matrix {
    static constexpr std::size_t rank = 2;
    static constexpr std::array<std::size_t, 2> extents{Out, In};
    static constexpr std::size_t size = Out * In;

    std::byte const* planes[2] = {};  // words [Out, words] of 32 bits, and scales [Out, blocks] of bf16; aligned or not
};

/// The same weights in memory as their transpose: the integers of each input for all outputs, and each block's scales of all outputs. A view.
template <std::size_t Bits, std::size_t Out, std::size_t In>
struct transposed_quantized_matrix {
    static constexpr std::size_t rank = 2;
    static constexpr std::array<std::size_t, 2> extents{Out, In};
    static constexpr std::size_t size = Out * In;
    static constexpr bool transposed = true;

    std::byte const* planes[2] = {};  // integers [In, Out], rows of whole bytes, and scales [blocks, Out] of bf16

    /// The weights of inputs [First, First + Count), where a block begins with them.
    template <std::size_t First, std::size_t Count>
    requires(First + Count <= In && First % detail::quantized_block == 0) constexpr transposed_quantized_matrix<Bits, Out, Count> inputs() const {
        return {{planes[0] + First * ((Out * Bits + 7) / 8), planes[1] + First / detail::quantized_block * Out * sizeof(bf16)}};
    }
};

template <std::size_t Bits, std::size_t Out, std::size_t In>
constexpr weight_format const& format_of(quantized_matrix<Bits, Out, In> const&) {
    return detail::quantized_format_of<Bits>;
}
template <std::size_t Bits, std::size_t Out, std::size_t In>
constexpr weight_format const& format_of(transposed_quantized_matrix<Bits, Out, In> const&) {
    return detail::quantized_format_of<Bits>;
}

}  // namespace goldfinch
