// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernel_test.hpp"

#include <cstdint>
#include <string_view>

#include <goldfinch/backend/simd/quantized.hpp>
#include <goldfinch/weight/formats.hpp>

/// Weights [out, in] of Bits bits, all integers and scales that there are among them, at an odd address and between guards.
template <std::size_t Bits>
class packed_field {
public:
    packed_field(std::size_t out, std::size_t in)
        : in_(in),
          words_((in * Bits + 31) / 32),
          blocks_((in + 63) / 64),
          packed_(4 * out * words_ + 2, guard),
          scale_(2 * out * blocks_ + 2, guard) {
        std::mt19937 random(static_cast<unsigned>(out * 1000 + in));
        for (std::size_t i = 0; i < 4 * out * words_; ++i) packed_[1 + i] = static_cast<unsigned char>(random());  // and what rows are padded with
        for (std::size_t i = 0; i < out * blocks_; ++i) {
            gf::bf16 const s(0.01f * random_normal());
            std::memcpy(&scale_[1 + 2 * i], &s, 2);
        }
    }
    gf::detail::packed_rows rows(std::size_t first = 0) const {
        return {reinterpret_cast<std::byte const*>(&packed_[1 + 4 * first * words_]),
                reinterpret_cast<std::byte const*>(&scale_[1 + 2 * first * blocks_])};
    }
    /// An element's integer, which is unsigned, and where its scale is.
    unsigned integer(std::size_t r, std::size_t i) const {
        std::uint32_t word;
        std::memcpy(&word, &packed_[1 + 4 * (r * words_ + i * Bits / 32)], 4);
        return word >> (i * Bits % 32) & ((1u << Bits) - 1);
    }
    unsigned char const* scale(std::size_t r, std::size_t i) const { return &scale_[1 + 2 * (r * blocks_ + i / 64)]; }
    double operator()(std::size_t r, std::size_t i) const {
        gf::bf16 s;
        std::memcpy(&s, scale(r, i), 2);
        return (static_cast<int>(integer(r, i)) - (1 << (Bits - 1))) * static_cast<double>(static_cast<float>(s));
    }

private:
    static constexpr unsigned char guard = 0x5a;
    std::size_t in_, words_, blocks_;
    std::vector<unsigned char> packed_, scale_;
};

/// The same weights stored as their transpose: the integers of each input for all outputs, and each block's scales.
template <std::size_t Bits>
class transposed_packed_field {
public:
    transposed_packed_field(packed_field<Bits> const& w, std::size_t out, std::size_t in)
        : row_((out * Bits + 7) / 8), packed_(in * row_ + 2, guard), scale_(2 * out * ((in + 63) / 64) + 2, guard) {
        for (std::size_t k = 0; k < in; ++k)
            for (std::size_t o = 0; o < out; ++o) {
                auto& byte = packed_[1 + k * row_ + o * Bits / 8];
                unsigned const shift = o * Bits % 8, mask = (1u << Bits) - 1;
                byte = static_cast<unsigned char>((byte & ~(mask << shift)) | w.integer(o, k) << shift);
                if (k % 64 == 0) std::memcpy(&scale_[1 + 2 * (k / 64 * out + o)], w.scale(o, k), 2);
            }
    }
    gf::detail::packed_rows rows() const { return {reinterpret_cast<std::byte const*>(&packed_[1]), reinterpret_cast<std::byte const*>(&scale_[1])}; }

private:
    static constexpr unsigned char guard = 0x5a;
    std::size_t row_;
    std::vector<unsigned char> packed_, scale_;
};

/// How far activations may be rounded, as a fraction of the largest of their block: to 16 bits, and many tokens to 8.
inline double packed_rounding(kernel_table const& table, std::size_t tokens) {
    std::string_view const set = table.instruction_set;
    if (set == "neon_dotprod") return 1.0 / 65278;
    if (set != "avx512_vnni" && set != "avx512_bf16" && set != "amx") return 0;
    return tokens > few_rows ? 1.0 / 254 : 1.0 / 65278;
}

/// Whether y [tokens, out] = w x for integers w, within what they may be rounded.
template <std::size_t Bits>
bool packed_product_holds(kernel_table const& table, packed_field<Bits> const& w, std::size_t out, field<float> const& x, std::size_t tokens,
                          field<float> const& y) {
    std::size_t const in = x.width();
    for (std::size_t t = 0; t < tokens; ++t)
        for (std::size_t o = 0; o < out; ++o) {
            double sum = 0, size = 0, weights = 0, largest = 0;
            for (std::size_t k = 0; k < in; ++k) {
                double const v = static_cast<double>(x[t][k]), p = w(o, k) * v;
                sum += p;
                size += std::abs(p);
                weights += std::abs(w(o, k));
                largest = std::max(largest, std::abs(v));
            }
            double const bound = product_bound * size + weights * largest * packed_rounding(table, tokens);
            if (!(std::abs(static_cast<double>(y[t][o]) - sum) <= bound)) return false;
        }
    return true;
}
