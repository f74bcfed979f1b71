// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <goldfinch/backend/cuda/device.cuh>
#include <goldfinch/backend/cuda/elementwise.cuh>
#include <goldfinch/backend/cuda/kernels.hpp>

// Norms: a block a row, or a group of its channels. A thread writes only what it alone reads, so y may be x.

namespace goldfinch::detail {

namespace device {

/// `before` is done to the rows first.
template <class T>
__global__ void layer_norm_kernel(__grid_constant__ element_steps const before, T const* weight, T const* bias, cuda_rows<float const> x, cuda_rows<float> y,
                                  float eps, unsigned n) {
    float* const shared = shared_memory<float>();
    unsigned const t = blockIdx.y, begin = blockIdx.x * n;
    float const* const from = x[t] + begin;
    float sum = 0;
    for (unsigned i = threadIdx.x; i < n; i += blockDim.x) {
        before.apply(t, begin + i);
        sum += from[i];
    }
    float const mean = sum_of_block(sum, shared) / static_cast<float>(n);
    float squares = 0;
    for (unsigned i = threadIdx.x; i < n; i += blockDim.x) squares = fmaf(from[i] - mean, from[i] - mean, squares);
    float const scale = 1 / sqrtf(sum_of_block(squares, shared) / static_cast<float>(n) + eps);
    for (unsigned i = threadIdx.x; i < n; i += blockDim.x)
        y[t][begin + i] = fmaf((from[i] - mean) * scale, static_cast<float>(weight[begin + i]), static_cast<float>(bias[begin + i]));
}

template <class OnDemand>
__global__ void rms_norm_kernel(cuda_rows<float const> x, cuda_rows<float> y) {
    float* const shared = shared_memory<float>();
    unsigned const t = blockIdx.x, n = static_cast<unsigned>(x.width);
    float squares = 0;
    for (unsigned i = threadIdx.x; i < n; i += blockDim.x) squares = fmaf(x[t][i], x[t][i], squares);
    float const scale = 1 / (sqrtf(sum_of_block(squares, shared) / static_cast<float>(n)) + 1e-8f);
    for (unsigned i = threadIdx.x; i < n; i += blockDim.x) y[t][i] = x[t][i] * scale;
}

}  // namespace device

template <class T>
void cuda_weight_kernels<T>::layer_norm(cuda_executor const& at, T const* weight, T const* bias, cuda_rows<float const> x, cuda_rows<float> y, float eps,
                                        std::size_t groups) {
    std::size_t const n = x.width / groups;
    unsigned const threads = device::threads_for(n);
    cuda_recording& recorded = at.recorder->recorded();
    auto steps = recorded.argument<device::element_steps>(reinterpret_cast<void const*>(device::elementwise_kernel<void>));
    if (steps && steps->agrees(x, false) && steps->agrees(y, true))
        recorded.drop_last();
    else
        steps = device::element_steps{};
    device::launch(at, device::layer_norm_kernel<T>, dim3(static_cast<unsigned>(groups), static_cast<unsigned>(x.size)), dim3(threads),
                   threads / device::warp * sizeof(float), *steps, weight, bias, x, y, eps, static_cast<unsigned>(n));
}

template <class OnDemand>
void cuda_kernels<OnDemand>::rms_norm(cuda_executor const& at, cuda_rows<float const> x, cuda_rows<float> y) {
    unsigned const threads = device::threads_for(x.width);
    device::launch(at, device::rms_norm_kernel<OnDemand>, dim3(static_cast<unsigned>(x.size)), dim3(threads), threads / device::warp * sizeof(float), x, y);
}

}  // namespace goldfinch::detail
