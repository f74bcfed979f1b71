// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <type_traits>

#include <goldfinch/backend/cuda/device.cuh>
#include <goldfinch/backend/cuda/kernels.hpp>
#include <goldfinch/backend/cuda/mma.cuh>
#include <goldfinch/backend/cuda/weights.cuh>
#include <goldfinch/numeric.hpp>

// Products of many rows with low-rank factors, stored [in, out], on tensor cores, with activations rounded to bf16. They have few outputs or few
// inputs: tiles are small, and the warps of a block share a tile's inputs. A row's sums are the same whatever rows are beside it.

namespace goldfinch::detail::device {

inline constexpr unsigned low_rank_tile = 32, low_rank_warps = 8;  ///< rows, and outputs, of a block; its warps
inline constexpr unsigned low_rank_threads = low_rank_warps * warp;
inline constexpr unsigned low_rank_depth = low_rank_warps * 16;  ///< inputs that are in shared memory together, twice: 16 for each warp
/// Elements of rows there: with 8 between them ldmatrix meets no bank twice.
inline constexpr unsigned low_rank_value_stride = low_rank_depth + 8, low_rank_weight_stride = low_rank_tile + 8, low_rank_sum_stride = low_rank_tile + 8;
/// [2][low_rank_tile][low_rank_value_stride] of activations and [2][low_rank_depth][low_rank_weight_stride] of weights, and then each warp's sums.
inline constexpr std::size_t low_rank_operands = 2 * sizeof(bf16) * (low_rank_tile * low_rank_value_stride + low_rank_depth * low_rank_weight_stride);
inline constexpr std::size_t low_rank_sums = sizeof(float) * low_rank_warps * low_rank_tile * low_rank_sum_stride;
inline constexpr std::size_t low_rank_shared = low_rank_operands > low_rank_sums ? low_rank_operands : low_rank_sums;

/// Whether products of rows that must not depend on others are done here.
template <class T>
bool takes_low_rank(cuda_executor const& at, std::size_t in, std::size_t out) {
    return std::is_same_v<T, bf16> && at.batch_invariant && in % 8 == 0 && out % 8 == 0;
}
inline dim3 low_rank_grid(std::size_t rows, std::size_t out, std::size_t products = 1) {
    return dim3(divide_up(out, low_rank_tile), divide_up(rows, low_rank_tile), static_cast<unsigned>(products));
}

/// A block's tile of x w, with w [x.width, outs]: finish(row, out, sum) for each of its elements.
template <class Finish>
__device__ inline void low_rank_block(cuda_rows<float const> const& x, bool aligned, bf16 const* w, unsigned outs, Finish const& finish) {
    constexpr unsigned values_size = low_rank_tile * low_rank_value_stride, weights_size = low_rank_depth * low_rank_weight_stride;
    constexpr unsigned value_eights = low_rank_depth / 8, weight_eights = low_rank_tile / 8;  // of a row
    constexpr unsigned own_eights = low_rank_tile * value_eights / low_rank_threads;
    static_assert(own_eights * low_rank_threads == low_rank_depth * weight_eights);
    bf16* const values = shared_memory<bf16>();
    bf16* const weights = values + 2 * values_size;
    float* const parts = shared_memory<float>();
    unsigned const lane = threadIdx.x % warp, own_k = threadIdx.x / warp * 16, first_out = blockIdx.x * low_rank_tile, first_row = blockIdx.y * low_rank_tile;
    unsigned const rows = static_cast<unsigned>(x.size), in = static_cast<unsigned>(x.width), steps = divide_up(in, low_rank_depth);
    float sums[2][4][4] = {};  // 16 rows, 8 outputs
    uint4 staged[own_eights];

    auto const begin_stage = [&](unsigned step) {
        GOLDFINCH_DEVICE_UNROLL
        for (unsigned i = 0; i < own_eights; ++i) {
            unsigned const at = threadIdx.x + i * low_rank_threads, row = first_row + at / value_eights, from = step * low_rank_depth + at % value_eights * 8;
            float eight[8] = {};
            if (row < rows && from < in) load_eight(x[row] + from, aligned, eight);
            staged[i] = round_eight(eight);
            unsigned const line = at / weight_eights, column = at % weight_eights * 8, input = step * low_rank_depth + line;
            bool const valid = input < in && first_out + column < outs;
            cp_async_16(weights + step % 2 * weights_size + line * low_rank_weight_stride + column,
                        valid ? w + std::size_t{input} * outs + first_out + column : w, valid);
        }
        cp_async_commit();
    };
    auto const end_stage = [&](unsigned step) {
        GOLDFINCH_DEVICE_UNROLL
        for (unsigned i = 0; i < own_eights; ++i) {
            unsigned const at = threadIdx.x + i * low_rank_threads;
            *reinterpret_cast<uint4*>(values + step % 2 * values_size + at / value_eights * low_rank_value_stride + at % value_eights * 8) = staged[i];
        }
    };

    begin_stage(0);
    end_stage(0);
    for (unsigned step = 0; step < steps; ++step) {
        cp_async_wait<0>();
        __syncthreads();
        if (step + 1 < steps) begin_stage(step + 1);
        if (step * low_rank_depth + own_k < in) {  // the whole warp
            unsigned a[2][4], b[2][4];
            GOLDFINCH_DEVICE_UNROLL
            for (unsigned i = 0; i < 2; ++i) {
                ldmatrix_x4(a[i], values + step % 2 * values_size + (i * 16 + lane % 16) * low_rank_value_stride + own_k + lane / 16 * 8);
                ldmatrix_x4_trans(b[i], weights + step % 2 * weights_size + (own_k + lane % 16) * low_rank_weight_stride + i * 16 + lane / 16 * 8);
            }
            GOLDFINCH_DEVICE_UNROLL
            for (unsigned i = 0; i < 2; ++i)
                GOLDFINCH_DEVICE_UNROLL
                for (unsigned j = 0; j < 4; ++j) {
                    unsigned const pair[2] = {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]};
                    mma_m16n8k16(sums[i][j], a[i], pair);
                }
        }
        if (step + 1 < steps) end_stage(step + 1);
    }
    __syncthreads();  // all have read the operands, where the sums go
    GOLDFINCH_DEVICE_UNROLL
    for (unsigned i = 0; i < 2; ++i)
        GOLDFINCH_DEVICE_UNROLL
        for (unsigned j = 0; j < 4; ++j)
            GOLDFINCH_DEVICE_UNROLL
            for (unsigned c = 0; c < 4; ++c) {
                unsigned const row = threadIdx.x / warp * low_rank_tile + i * 16 + lane / 4 + c / 2 * 8, out = j * 8 + lane % 4 * 2 + c % 2;
                parts[row * low_rank_sum_stride + out] = sums[i][j][c];
            }
    __syncthreads();
    for (unsigned at = threadIdx.x; at < low_rank_tile * low_rank_tile; at += low_rank_threads) {
        unsigned const row = at / low_rank_tile, out = at % low_rank_tile;
        if (first_row + row >= rows || first_out + out >= outs) continue;
        float sum = 0;
        GOLDFINCH_DEVICE_UNROLL
        for (unsigned i = 0; i < low_rank_warps; ++i) sum += parts[(i * low_rank_tile + row) * low_rank_sum_stride + out];
        finish(first_row + row, first_out + out, sum);
    }
}

}  // namespace goldfinch::detail::device
