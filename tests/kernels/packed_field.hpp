// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernel_test.hpp"

#include <cstdint>

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
    double operator()(std::size_t r, std::size_t i) const {
        std::uint32_t word;
        gf::bf16 s;
        std::memcpy(&word, &packed_[1 + 4 * (r * words_ + i * Bits / 32)], 4);
        std::memcpy(&s, &scale_[1 + 2 * (r * blocks_ + i / 64)], 2);
        int const u = static_cast<int>(word >> (i * Bits % 32) & ((1u << Bits) - 1));
        return (u - (1 << (Bits - 1))) * static_cast<double>(static_cast<float>(s));
    }

private:
    static constexpr unsigned char guard = 0x5a;
    std::size_t in_, words_, blocks_;
    std::vector<unsigned char> packed_, scale_;
};
