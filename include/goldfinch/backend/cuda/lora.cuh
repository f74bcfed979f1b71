// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>

#include <goldfinch/backend/cuda/device.cuh>
#include <goldfinch/backend/cuda/kernels.hpp>

// Products with low-rank factors, which are stored [in, out]: neighbouring lanes take neighbouring outputs. A row's sums are the same whatever rows are beside it.

namespace goldfinch::detail {

namespace device {

inline constexpr unsigned lora_rows = 4, lora_slices = 8;  ///< rows of a block, and parts into which it cuts the inputs

/// y = tanh(x w), or y = v + x w, or y += x w.
enum class lora_result { tanh, on_row, add };

template <class T, lora_result result>
__global__ void lora_kernel(T const* v, cuda_rows<float const> x, T const* w, cuda_rows<float> y) {
    float(*const parts)[lora_rows][warp] = shared_memory<float[lora_rows][warp]>();  // [lora_slices][lora_rows][warp]
    unsigned const lane = threadIdx.x % warp, slice = threadIdx.x / warp, out = blockIdx.x * warp + lane;
    unsigned const first = blockIdx.y * lora_rows, n = smaller(lora_rows, static_cast<unsigned>(x.size) - first);
    unsigned const in = static_cast<unsigned>(x.width), outs = static_cast<unsigned>(y.width);
    float sums[lora_rows] = {};
    if (out < outs)
        for (unsigned k = slice; k < in; k += lora_slices) {
            float const factor = static_cast<float>(w[std::size_t{k} * outs + out]);
            GOLDFINCH_DEVICE_UNROLL
            for (unsigned r = 0; r < lora_rows; ++r)
                if (r < n) sums[r] = fmaf(x[first + r][k], factor, sums[r]);
        }
    GOLDFINCH_DEVICE_UNROLL
    for (unsigned r = 0; r < lora_rows; ++r) parts[slice][r][lane] = sums[r];
    __syncthreads();
    if (slice >= n || out >= outs) return;
    float sum = 0;
    for (unsigned s = 0; s < lora_slices; ++s) sum += parts[s][slice][lane];
    float& to = y[first + slice][out];
    if (result == lora_result::tanh)
        to = tanhf(sum);
    else if (result == lora_result::on_row)
        to = static_cast<float>(v[out]) + sum;
    else
        to += sum;
}

template <class T, lora_result result>
void launch_lora(cuda_executor const& at, T const* v, cuda_rows<float const> x, T const* w, cuda_rows<float> y) {
    static_assert(lora_rows <= lora_slices);
    launch(at, lora_kernel<T, result>, dim3(divide_up(y.width, warp), divide_up(y.size, lora_rows)), dim3(warp * lora_slices),
           lora_slices * lora_rows * warp * sizeof(float), v, x, w, y);
}

}  // namespace device

template <class T>
void cuda_weight_kernels<T>::lora_down(cuda_executor const& at, cuda_rows<float const> x, T const* w1, cuda_rows<float> h) {
    device::launch_lora<T, device::lora_result::tanh>(at, nullptr, x, w1, h);
}
template <class T>
void cuda_weight_kernels<T>::lora_up(cuda_executor const& at, T const* v, cuda_rows<float const> h, T const* w2, cuda_rows<float> y) {
    if (v != nullptr)
        device::launch_lora<T, device::lora_result::on_row>(at, v, h, w2, y);
    else
        device::launch_lora<T, device::lora_result::add>(at, nullptr, h, w2, y);
}

}  // namespace goldfinch::detail
