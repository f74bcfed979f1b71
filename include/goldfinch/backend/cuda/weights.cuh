// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include <goldfinch/backend/cuda/device.cuh>
#include <goldfinch/backend/cuda/kernels.hpp>
#include <goldfinch/numeric.hpp>

// The rows of a product's weights, [out, in]: how kernels read some neighbouring elements of one, as floats.

namespace goldfinch::detail::device {

/// The two bf16 in a word, and the two halves.
__device__ inline void widen(std::uint32_t word, float* to, bf16) {
    to[0] = bits_as<float>(word << 16);
    to[1] = bits_as<float>(word & 0xffff0000u);
}
__device__ inline void widen(std::uint32_t word, float* to, half) {
#if defined(__CUDA_ARCH__)
    asm("{.reg .f16 low, high; mov.b32 {low, high}, %2; cvt.f32.f16 %0, low; cvt.f32.f16 %1, high;}" : "=f"(to[0]), "=f"(to[1]) : "r"(word));
#else
    for (unsigned i = 0; i < 2; ++i) {
        half h;
        h.bits = static_cast<std::uint16_t>(word >> 16 * i);
        to[i] = static_cast<float>(h);
    }
#endif
}

/// Eight neighbouring elements of an activation's row.
__device__ inline void load_eight(float const* x, bool aligned, float (&to)[8]) {
    if (aligned) {
        float4 const a = *reinterpret_cast<float4 const*>(x), b = *reinterpret_cast<float4 const*>(x + 4);
        to[0] = a.x, to[1] = a.y, to[2] = a.z, to[3] = a.w;
        to[4] = b.x, to[5] = b.y, to[6] = b.z, to[7] = b.w;
    } else {
        for (unsigned i = 0; i < 8; ++i) to[i] = x[i];
    }
}
/// Whether four neighbouring elements are read as one, from a multiple of four on.
inline bool rows_are_aligned(cuda_rows<float const> const& x) { return x.stride % 4 == 0 && reinterpret_cast<std::uintptr_t>(x.data) % 16 == 0; }

/// Weights as kernels read them: row(out) is a row, with at(i), element i, and eight(i, to), elements i to i + 7 for a multiple of 8, if `in` is one.
template <class Weights>
struct weight_rows;

template <class T>
struct weight_rows<T const*> {
    T const* data = nullptr;
    std::size_t in = 0;

    weight_rows() = default;
    weight_rows(T const* w, std::size_t columns) : data(w), in(columns) {}

    struct row_view {
        T const* data;
        __device__ float at(unsigned i) const { return static_cast<float>(data[i]); }
        __device__ void eight(unsigned i, float (&to)[8]) const {
            uint4 const words = __ldg(reinterpret_cast<uint4 const*>(data + i));
            widen(words.x, to, T());
            widen(words.y, to + 2, T());
            widen(words.z, to + 4, T());
            widen(words.w, to + 6, T());
        }
    };
    __device__ row_view row(unsigned out) const { return {data + out * in}; }
};

template <>
struct weight_rows<float const*> {
    float const* data = nullptr;
    std::size_t in = 0;

    weight_rows() = default;
    weight_rows(float const* w, std::size_t columns) : data(w), in(columns) {}

    struct row_view {
        float const* data;
        __device__ float at(unsigned i) const { return data[i]; }
        __device__ void eight(unsigned i, float (&to)[8]) const {
            float4 const a = __ldg(reinterpret_cast<float4 const*>(data + i)), b = __ldg(reinterpret_cast<float4 const*>(data + i + 4));
            to[0] = a.x, to[1] = a.y, to[2] = a.z, to[3] = a.w;
            to[4] = b.x, to[5] = b.y, to[6] = b.z, to[7] = b.w;
        }
    };
    __device__ row_view row(unsigned out) const { return {data + out * in}; }
};

/// Integers of Bits bits: (u - 2^(Bits - 1)) * scale, with a scale for every 64 of a row.
template <std::size_t Bits>
struct weight_rows<cuda_packed<Bits>> {
    std::uint32_t const* words = nullptr;
    bf16 const* scales = nullptr;
    unsigned words_a_row = 0, scales_a_row = 0;

    weight_rows() = default;
    weight_rows(cuda_packed<Bits> w, std::size_t columns)
        : words(reinterpret_cast<std::uint32_t const*>(w.words)),
          scales(reinterpret_cast<bf16 const*>(w.scales)),
          words_a_row(divide_up(columns * Bits, 32)),
          scales_a_row(divide_up(columns, 64)) {}

    struct row_view {
        std::uint32_t const* words;
        bf16 const* scales;
        static constexpr unsigned bits = Bits;
        static constexpr std::uint32_t mask = (1u << bits) - 1;
        static constexpr int zero = 1 << (bits - 1);

        __device__ float at(unsigned i) const {
            int const u = static_cast<int>(words[i * bits / 32] >> (i * bits % 32) & mask);
            return static_cast<float>(u - zero) * static_cast<float>(scales[i / 64]);
        }
        __device__ float scale(unsigned i) const { return static_cast<float>(scales[i / 64]); }
        /// Without their scale.
        __device__ void integers(unsigned i, float (&to)[8]) const {
            GOLDFINCH_DEVICE_UNROLL
            for (unsigned j = 0; j < 8; ++j) {
                std::uint32_t const word = __ldg(words + i * bits / 32 + j * bits / 32);
                to[j] = static_cast<float>(static_cast<int>(word >> (j * bits % 32) & mask) - zero);
            }
        }
        __device__ void eight(unsigned i, float (&to)[8]) const {
            integers(i, to);
            float const factor = scale(i);
            GOLDFINCH_DEVICE_UNROLL
            for (unsigned j = 0; j < 8; ++j) to[j] *= factor;
        }
    };
    __device__ row_view row(unsigned out) const { return {words + std::size_t{out} * words_a_row, scales + std::size_t{out} * scales_a_row}; }
};

}  // namespace goldfinch::detail::device
