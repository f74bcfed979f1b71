// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <type_traits>

#include <goldfinch/backend/cuda/device.cuh>
#include <goldfinch/backend/cuda/kernels.hpp>
#include <goldfinch/backend/cuda/low_rank.cuh>

namespace goldfinch::detail {

namespace device {

/// The row before row t of x: a sequence's state before its first one.
__device__ inline float const* row_before(cuda_rows<float const> const& x, cuda_sequences const& of, unsigned t) {
    for (unsigned i = 0; i < of.size; ++i)
        if (of.each[i].first == t) return of.each[i].state;
    return x[t - 1];
}

/// What a token shift reads, at the beginning of its argument.
struct shift_input {
    cuda_rows<float const> x;
    cuda_sequences of;
    unsigned keeps_last = 0;  ///< whether x becomes the state, where every sequence has one row
    unsigned padding = 0;
};
template <class T>
struct shift_arguments {
    using header = shift_input;
    shift_input in;
    cuda_shifts<T> outputs;
};

template <class T>
__global__ void token_shift_kernel(__grid_constant__ shift_arguments<T> const shift) {
    cuda_rows<float const> const x = shift.in.x;
    unsigned const c = blockIdx.x * blockDim.x + threadIdx.x, t = shift.in.of.each[0].first + blockIdx.y;
    if (c >= x.width) return;
    float const now = x[t][c], change = row_before(x, shift.in.of, t)[c] - now;
    for (unsigned k = 0; k < shift.outputs.size; ++k) shift.outputs.y[k][t][c] = fmaf(change, static_cast<float>(shift.outputs.mu[k][c]), now);
    if (shift.in.keeps_last != 0) shift.in.of.each[blockIdx.y].state[c] = now;
}

inline constexpr unsigned shift_rows = 4;  ///< rows of a block: w2 is read once for them

/// Block z makes output z: y_t = x_t + (x_{t-1} - x_t) * (mu + h_t w2).
template <class T>
__global__ void token_shift_lora_kernel(cuda_rows<float const> x, cuda_sequences of, cuda_rows<float const> h, T const* w2, cuda_shifts<T> outputs, unsigned rank) {
    float* const low = shared_memory<float>();  // h [shift_rows][rank]
    unsigned const c = blockIdx.x * blockDim.x + threadIdx.x, k = blockIdx.z, end = of.each[of.size - 1].end;
    unsigned const first = of.each[0].first + blockIdx.y * shift_rows, n = smaller(shift_rows, end - first);
    for (unsigned i = threadIdx.x; i < n * rank; i += blockDim.x) low[i] = h[first + i / rank][k * rank + i % rank];
    __syncthreads();
    if (c >= x.width) return;
    float const mu = static_cast<float>(outputs.mu[k][c]);
    float mixed[shift_rows];
    for (unsigned r = 0; r < shift_rows; ++r) mixed[r] = mu;
    for (unsigned j = 0; j < rank; ++j) {
        float const w = static_cast<float>(w2[(std::size_t{k} * rank + j) * x.width + c]);
        GOLDFINCH_DEVICE_UNROLL
        for (unsigned r = 0; r < shift_rows; ++r)
            if (r < n) mixed[r] = fmaf(low[r * rank + j], w, mixed[r]);
    }
    GOLDFINCH_DEVICE_UNROLL
    for (unsigned r = 0; r < shift_rows; ++r)
        if (r < n) {
            float const now = x[first + r][c], change = row_before(x, of, first + r)[c] - now;
            outputs.y[k][first + r][c] = fmaf(change, mixed[r], now);
        }
}

/// The same on tensor cores.
template <class T>
__global__ void __launch_bounds__(low_rank_threads)
    token_shift_mma_kernel(cuda_rows<float const> x, cuda_sequences of, cuda_rows<float const> h, bool aligned, T const* w2, cuda_shifts<T> outputs) {
    unsigned const k = blockIdx.z, begin = of.each[0].first, width = static_cast<unsigned>(x.width);
    std::size_t const rank = h.width / outputs.size;
    cuda_rows<float const> const low{h[begin] + k * rank, of.each[of.size - 1].end - begin, h.stride, rank};
    low_rank_block(low, aligned, w2 + k * rank * width, width, [&](unsigned row, unsigned c, float sum) {
        unsigned const t = begin + row;
        float const now = x[t][c], change = row_before(x, of, t)[c] - now;
        outputs.y[k][t][c] = fmaf(change, static_cast<float>(outputs.mu[k][c]) + sum, now);
    });
}

inline std::size_t rows_of(cuda_sequences const& of) { return of.each[of.size - 1].end - of.each[0].first; }

/// Lets a token shift that was recorded last keep the last rows, too: says whether it does.
inline bool join_keep_last(cuda_executor const& at, cuda_rows<float const> x, cuda_sequences const& of) {
    cuda_recording& recorded = at.recorder->recorded();
    auto before = recorded.header<shift_input>();
    if (!before || !same_rows(before->x, x) || before->of.size != of.size || rows_of(of) != of.size) return false;
    for (unsigned i = 0; i < of.size; ++i)
        if (before->of.each[i].state != of.each[i].state || before->of.each[i].first != of.each[i].first) return false;
    before->keeps_last = 1;
    recorded.change_argument(*before);
    return true;
}

}  // namespace device

template <class T>
void cuda_weight_kernels<T>::token_shift(cuda_executor const& at, cuda_rows<float const> x, cuda_sequences const& of, cuda_shifts<T> const& outputs) {
    unsigned const threads = device::threads_for(x.width);
    dim3 const grid(device::divide_up(x.width, threads), static_cast<unsigned>(device::rows_of(of)));
    device::launch(at, device::token_shift_kernel<T>, grid, dim3(threads), 0, device::shift_arguments<T>{{x, of}, outputs});
}

template <class T>
void cuda_weight_kernels<T>::token_shift(cuda_executor const& at, cuda_rows<float const> x, cuda_sequences const& of, cuda_rows<float const> h, T const* w2,
                                         cuda_shifts<T> const& outputs) {
    unsigned const threads = device::threads_for(x.width, 128);
    std::size_t const rank = h.width / outputs.size;
    if constexpr (std::is_same_v<T, bf16>)
        if (device::takes_low_rank<T>(at, rank, x.width)) {
            dim3 const tiles = device::low_rank_grid(device::rows_of(of), x.width, outputs.size);
            return device::launch(at, device::token_shift_mma_kernel<T>, tiles, dim3(device::low_rank_threads), device::low_rank_shared, x, of, h,
                                  device::rows_are_aligned(h), w2, outputs);
        }
    dim3 const grid(device::divide_up(x.width, threads), device::divide_up(device::rows_of(of), device::shift_rows), static_cast<unsigned>(outputs.size));
    device::launch(at, device::token_shift_lora_kernel<T>, grid, dim3(threads), device::shift_rows * rank * sizeof(float), x, of, h, w2, outputs,
                   static_cast<unsigned>(rank));
}

}  // namespace goldfinch::detail
