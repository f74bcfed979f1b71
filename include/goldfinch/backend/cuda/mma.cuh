// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <goldfinch/backend/cuda/device.cuh>
#include <goldfinch/backend/cuda/kernels.hpp>
#include <goldfinch/backend/cuda/weights.cuh>
#include <goldfinch/numeric.hpp>

// y = w x of many rows on tensor cores: tiles of rows and outputs, with activations rounded to bf16. Integers are exact in bf16; the sums of each 64 of them are
// scaled in float32. A row's sums are the same whatever rows are beside it.

namespace goldfinch::detail::device {

template <class Weights>
inline constexpr bool has_mma = false;
template <>
inline constexpr bool has_mma<bf16 const*> = true;
template <std::size_t Bits>
inline constexpr bool has_mma<cuda_packed<Bits>> = true;

inline constexpr unsigned mma_tile = 64;      ///< rows, and outputs, of a block of four warps, which have 32 by 32 each
inline constexpr unsigned mma_depth = 32;     ///< inputs that are in shared memory together, twice
inline constexpr unsigned mma_stride = 40;    ///< of a row there: with 8 elements between rows ldmatrix meets no bank twice
inline constexpr unsigned mma_threads = 128;

/// Eight numbers as bf16, two in a word.
__device__ inline uint4 round_eight(float const (&x)[8]) {
    unsigned words[4];
    for (unsigned i = 0; i < 4; ++i) words[i] = bf16_pair(x[2 * i], x[2 * i + 1]);
    return make_uint4(words[0], words[1], words[2], words[3]);
}

/// Puts elements i to i + 7 of an output's row into shared memory, as bf16: zeros where `valid` is false.
__device__ inline void stage_eight(weight_rows<bf16 const*> const& w, unsigned out, unsigned i, bool valid, bf16* to) {
    cp_async_16(to, valid ? w.row(out).data + i : w.data, valid);
}
template <std::size_t Bits>
__device__ inline void stage_eight(weight_rows<cuda_packed<Bits>> const& w, unsigned out, unsigned i, bool valid, bf16* to) {
    float values[8] = {};
    if (valid) w.row(out).integers(i, values);
    *reinterpret_cast<uint4*>(to) = round_eight(values);
}

/// Shared memory: [2][mma_tile][mma_stride] of activations, then of weights. y is [rows, outs], x.width a multiple of 8.
template <class Weights>
__global__ void __launch_bounds__(mma_threads) mma_kernel(weight_rows<Weights> w, cuda_rows<float const> x, cuda_rows<float> y, bool aligned) {
    constexpr bool scaled = !std::is_pointer_v<Weights>;
    constexpr unsigned buffer = mma_tile * mma_stride, eights = mma_depth / 8, own_eights = mma_tile * eights / mma_threads;
    bf16* const activations = shared_memory<bf16>();
    bf16* const weights = activations + 2 * buffer;
    unsigned const first_out = blockIdx.x * mma_tile, first_row = blockIdx.y * mma_tile, lane = threadIdx.x % warp, warp_row = threadIdx.x / warp / 2 * 32,
                   warp_out = threadIdx.x / warp % 2 * 32;
    unsigned const outs = static_cast<unsigned>(y.width), rows = static_cast<unsigned>(y.size), in = static_cast<unsigned>(x.width), steps = divide_up(in, mma_depth);
    float sums[2][4][4] = {};                    // 16 rows, 8 outputs
    [[maybe_unused]] float parts[scaled ? 2 : 1][4][4] = {};      // those of 64 integers
    uint4 staged[own_eights];

    auto const begin_stage = [&](unsigned step) {
        GOLDFINCH_DEVICE_UNROLL
        for (unsigned i = 0; i < own_eights; ++i) {
            unsigned const at = threadIdx.x + i * mma_threads, line = at / eights, from = step * mma_depth + at % eights * 8;
            float values[8] = {};
            if (first_row + line < rows && from < in) load_eight(x[first_row + line] + from, aligned, values);
            staged[i] = round_eight(values);
            stage_eight(w, first_out + line, from, first_out + line < outs && from < in, weights + step % 2 * buffer + line * mma_stride + at % eights * 8);
        }
        cp_async_commit();
    };
    auto const end_stage = [&](unsigned step) {
        GOLDFINCH_DEVICE_UNROLL
        for (unsigned i = 0; i < own_eights; ++i) {
            unsigned const at = threadIdx.x + i * mma_threads;
            *reinterpret_cast<uint4*>(activations + step % 2 * buffer + at / eights * mma_stride + at % eights * 8) = staged[i];
        }
    };

    begin_stage(0);
    end_stage(0);
    for (unsigned step = 0; step < steps; ++step) {
        cp_async_wait<0>();
        __syncthreads();
        if (step + 1 < steps) begin_stage(step + 1);
        GOLDFINCH_DEVICE_UNROLL
        for (unsigned k = 0; k < mma_depth; k += 16) {
            unsigned a[2][4], b[2][4];
            GOLDFINCH_DEVICE_UNROLL
            for (unsigned i = 0; i < 2; ++i) {
                ldmatrix_x4(a[i], activations + step % 2 * buffer + (warp_row + i * 16 + lane % 16) * mma_stride + k + lane / 16 * 8);
                ldmatrix_x4(b[i], weights + step % 2 * buffer + (warp_out + i * 16 + lane / 16 * 8 + lane % 8) * mma_stride + k + lane / 8 % 2 * 8);
            }
            GOLDFINCH_DEVICE_UNROLL
            for (unsigned i = 0; i < 2; ++i)
                GOLDFINCH_DEVICE_UNROLL
                for (unsigned j = 0; j < 4; ++j) {
                    unsigned const pair[2] = {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]};
                    if constexpr (scaled)
                        mma_m16n8k16(parts[i][j], a[i], pair);
                    else
                        mma_m16n8k16(sums[i][j], a[i], pair);
                }
        }
        if constexpr (scaled)
            if (step % 2 == 1 || step + 1 == steps) {
                GOLDFINCH_DEVICE_UNROLL
                for (unsigned j = 0; j < 4; ++j)
                    GOLDFINCH_DEVICE_UNROLL
                    for (unsigned c = 0; c < 2; ++c) {
                        unsigned const out = first_out + warp_out + j * 8 + lane % 4 * 2 + c;
                        float const scale = out < outs ? w.row(out).scale(step * mma_depth) : 0;
                        GOLDFINCH_DEVICE_UNROLL
                        for (unsigned i = 0; i < 2; ++i) {
                            sums[i][j][c] = fmaf(scale, parts[i][j][c], sums[i][j][c]);
                            sums[i][j][c + 2] = fmaf(scale, parts[i][j][c + 2], sums[i][j][c + 2]);
                            parts[i][j][c] = parts[i][j][c + 2] = 0;
                        }
                    }
            }
        if (step + 1 < steps) end_stage(step + 1);
    }
    GOLDFINCH_DEVICE_UNROLL
    for (unsigned i = 0; i < 2; ++i)
        GOLDFINCH_DEVICE_UNROLL
        for (unsigned j = 0; j < 4; ++j)
            GOLDFINCH_DEVICE_UNROLL
            for (unsigned c = 0; c < 4; ++c) {
                unsigned const row = first_row + warp_row + i * 16 + lane / 4 + c / 2 * 8, out = first_out + warp_out + j * 8 + lane % 4 * 2 + c % 2;
                if (row < rows && out < outs) y[row][out] = sums[i][j][c];
            }
}

template <class Weights>
void launch_mma(cuda_executor const& at, weight_rows<Weights> const& w, cuda_rows<float const> x, cuda_rows<float> y) {
    launch(at, mma_kernel<Weights>, dim3(divide_up(y.width, mma_tile), divide_up(y.size, mma_tile)), dim3(mma_threads), 4 * mma_tile * mma_stride * sizeof(bf16), w, x, y,
           rows_are_aligned(x));
}

}  // namespace goldfinch::detail::device
