// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <goldfinch/backend/cuda/cublaslt.cuh>
#include <goldfinch/backend/cuda/device.cuh>
#include <goldfinch/backend/cuda/kernels.hpp>
#include <goldfinch/backend/cuda/mma.cuh>
#include <goldfinch/backend/cuda/weights.cuh>
#include <goldfinch/batch.hpp>

// y = w x. Few rows: a warp an output, which reads its row of weights once for all of them, as wide as it can. Many: tiles of outputs and rows, on tensor cores (mma.cuh)
// where the weights are bf16 or integers. Each sums a row's products in an order of its own, whatever rows are beside it. Many rows of a pass of many tokens go
// to cuBLASLt (cublaslt.cuh), which promises no such order.

namespace goldfinch::detail {

namespace device {

inline constexpr unsigned few_warps = 4;                          ///< outputs of a block
inline constexpr std::size_t most_few_rows = 2 * few_tokens;     ///< a layer may give a product two rows of each token

/// What a launch of products writes, at the beginning of its argument.
struct product_outputs {
    static constexpr unsigned most = 4;
    unsigned size = 0;
    unsigned first_block[most] = {};   ///< of each
    unsigned relu_squared[most] = {};  ///< whether y = max(w x, 0)^2
    unsigned padding = 0;
    cuda_rows<float> y[most] = {};
};
/// Products of few rows that do not depend on one another.
template <class Weights>
struct few_products {
    using header = product_outputs;
    product_outputs out;
    weight_rows<Weights> w[product_outputs::most] = {};
    cuda_rows<float const> x[product_outputs::most] = {};
    unsigned aligned[product_outputs::most] = {};

    /// Whether another one may be added.
    bool takes(cuda_rows<float const> const& other_x, cuda_rows<float> const& other_y) const {
        bool ok = out.size < product_outputs::most;
        for (unsigned k = 0; k < out.size; ++k) ok = ok && apart(other_x, out.y[k]) && apart(other_y, x[k]) && apart(other_y, out.y[k]);
        return ok;
    }
    void add(unsigned first_block, weight_rows<Weights> const& other_w, cuda_rows<float const> const& other_x, cuda_rows<float> const& other_y) {
        unsigned const k = out.size++;
        out.first_block[k] = first_block, out.y[k] = other_y, w[k] = other_w, x[k] = other_x, aligned[k] = rows_are_aligned(other_x);
    }
};

/// Blocks that a multiprocessor has at least: with more of them kernels would spill registers.
template <unsigned most>
inline constexpr unsigned few_blocks = most > 2 ? 8 : 10;

/// Blocks y are runs of `most` rows.
template <class Weights, bool by_eight, unsigned most>
__global__ void __launch_bounds__(few_warps* warp, few_blocks<most>) few_rows_kernel(__grid_constant__ few_products<Weights> const products) {
    unsigned k = 0;
    while (k + 1 < products.out.size && blockIdx.x >= products.out.first_block[k + 1]) ++k;
    cuda_rows<float const> const x = products.x[k];
    cuda_rows<float> const y = products.out.y[k];
    bool const aligned = products.aligned[k] != 0, squares = products.out.relu_squared[k] != 0;
    unsigned const lane = threadIdx.x % warp, out = (blockIdx.x - products.out.first_block[k]) * few_warps + threadIdx.x / warp;
    unsigned const first = blockIdx.y * most, in = static_cast<unsigned>(x.width);
    if (out >= y.width || first >= x.size) return;  // a whole warp
    unsigned const n = smaller(most, static_cast<unsigned>(x.size) - first);
    auto const row = products.w[k].row(out);
    float sums[most] = {};
    if constexpr (by_eight) {
        GOLDFINCH_DEVICE_UNROLL_BY(4)
        for (unsigned i = lane * 8; i < in; i += warp * 8) {
            float weights[8];
            row.eight(i, weights);
            GOLDFINCH_DEVICE_UNROLL
            for (unsigned r = 0; r < most; ++r)
                if (r < n) {
                    float values[8];
                    load_eight(x[first + r] + i, aligned, values);
                    GOLDFINCH_DEVICE_UNROLL
                    for (unsigned j = 0; j < 8; ++j) sums[r] = fmaf(weights[j], values[j], sums[r]);
                }
        }
    } else {
        for (unsigned i = lane; i < in; i += warp) {
            float const weight = row.at(i);
            GOLDFINCH_DEVICE_UNROLL
            for (unsigned r = 0; r < most; ++r)
                if (r < n) sums[r] = fmaf(weight, x[first + r][i], sums[r]);
        }
    }
    GOLDFINCH_DEVICE_UNROLL
    for (unsigned r = 0; r < most; ++r)
        if (r < n) {
            float const sum = sum_of_lanes(sums[r]), positive = sum > 0 ? sum : 0;
            if (lane == 0) y[first + r][out] = squares ? positive * positive : sum;
        }
}

/// Joins the launch before where that is of products, none of which this one depends on.
template <unsigned most, class Weights>
void launch_few_rows(cuda_executor const& at, weight_rows<Weights> const& w, cuda_rows<float const> x, cuda_rows<float> y) {
    auto const kernel = x.width % 8 == 0 ? few_rows_kernel<Weights, true, most> : few_rows_kernel<Weights, false, most>;
    unsigned const blocks = divide_up(y.width, few_warps), runs = divide_up(x.size, most);
    cuda_recording& recorded = at.recorder->recorded();
    auto before = recorded.argument<few_products<Weights>>(reinterpret_cast<void const*>(kernel));
    if (before && before->takes(x, y)) {
        unsigned const last = before->out.size - 1;
        before->add(before->out.first_block[last] + divide_up(before->out.y[last].width, few_warps), w, x, y);
        recorded.change_argument(*before);
        recorded.widen_grid(blocks, runs);
        return;
    }
    few_products<Weights> alone;
    alone.add(0, w, x, y);
    launch(at, kernel, dim3(blocks, runs), dim3(few_warps * warp), 0, alone);
}

inline constexpr unsigned tile = 64, tile_depth = 16, tile_threads = 256, tile_own = 4;  ///< of outputs and of rows; a thread has 4 of each

/// Shared memory: [tile_depth][tile + 4] of weights, then of activations.
template <class Weights>
__global__ void __launch_bounds__(tile_threads) tile_kernel(weight_rows<Weights> w, cuda_rows<float const> x, cuda_rows<float> y) {
    constexpr unsigned stride = tile + 4;
    float(*const weights)[stride] = shared_memory<float[stride]>();
    float(*const values)[stride] = weights + tile_depth;
    unsigned const first_out = blockIdx.x * tile, first_row = blockIdx.y * tile;
    unsigned const outs = static_cast<unsigned>(y.width), rows = static_cast<unsigned>(y.size), in = static_cast<unsigned>(x.width);
    unsigned const own_out = threadIdx.x % 16 * tile_own, own_row = threadIdx.x / 16 * tile_own;
    float sums[tile_own][tile_own] = {};
    for (unsigned begin = 0; begin < in; begin += tile_depth) {
        for (unsigned i = threadIdx.x; i < tile * tile_depth; i += tile_threads) {
            unsigned const at = i / tile_depth, depth = i % tile_depth, column = begin + depth;
            weights[depth][at] = first_out + at < outs && column < in ? w.row(first_out + at).at(column) : 0;
            values[depth][at] = first_row + at < rows && column < in ? x[first_row + at][column] : 0;
        }
        __syncthreads();
        GOLDFINCH_DEVICE_UNROLL
        for (unsigned depth = 0; depth < tile_depth; ++depth)
            GOLDFINCH_DEVICE_UNROLL
            for (unsigned r = 0; r < tile_own; ++r)
                GOLDFINCH_DEVICE_UNROLL
                for (unsigned o = 0; o < tile_own; ++o) sums[r][o] = fmaf(weights[depth][own_out + o], values[depth][own_row + r], sums[r][o]);
        __syncthreads();
    }
    for (unsigned r = 0; r < tile_own; ++r)
        for (unsigned o = 0; o < tile_own; ++o)
            if (first_row + own_row + r < rows && first_out + own_out + o < outs) y[first_row + own_row + r][first_out + own_out + o] = sums[r][o];
}

}  // namespace device

template <class Weights>
void cuda_product_kernels<Weights>::linear(cuda_executor const& at, Weights w, cuda_rows<float const> x, cuda_rows<float> y) {
    device::weight_rows<Weights> const rows(w, x.width);
    if (x.size > device::most_few_rows || at.batch_invariant) {
        if constexpr (std::is_pointer_v<Weights>)
            if (!at.batch_invariant && device::launch_cublaslt(at, w, x, y)) return;
        if constexpr (device::has_mma<Weights>)
            if (x.width % 8 == 0) return device::launch_mma(at, rows, x, y);
        dim3 const grid(device::divide_up(y.width, device::tile), device::divide_up(y.size, device::tile));
        device::launch(at, device::tile_kernel<Weights>, grid, dim3(device::tile_threads), 2 * device::tile_depth * (device::tile + 4) * sizeof(float), rows, x, y);
        return;
    }
    if (x.size == 0) return;
    if (x.size <= 2)
        device::launch_few_rows<2>(at, rows, x, y);
    else
        device::launch_few_rows<4>(at, rows, x, y);
}

}  // namespace goldfinch::detail
