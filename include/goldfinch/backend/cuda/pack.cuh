// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <type_traits>

#include <goldfinch/backend/cuda/device.cuh>
#include <goldfinch/backend/cuda/kernels.hpp>

// Rows as caches keep them: a block a row.

namespace goldfinch::detail {

namespace device {

template <class Value>
__global__ void pack_kernel(cuda_rows<float const> x, cuda_rows<Value> y, float* scales) {
    unsigned const t = blockIdx.x, n = static_cast<unsigned>(x.width);
    if constexpr (std::is_integral_v<Value>) {
        float* const shared = shared_memory<float>();
        float largest = 0;
        for (unsigned i = threadIdx.x; i < n; i += blockDim.x) largest = fmaxf(largest, fabsf(x[t][i]));
        float const scale = largest_of_block(largest, shared) / 127, inverse = scale > 0 ? 1 / scale : 0;
        if (threadIdx.x == 0) scales[t] = scale;
        for (unsigned i = threadIdx.x; i < n; i += blockDim.x) {
            float const q = rintf(x[t][i] * inverse);
            y[t][i] = static_cast<Value>(fminf(fmaxf(q, -127.0f), 127.0f));
        }
    } else {
        for (unsigned i = threadIdx.x; i < n; i += blockDim.x) y[t][i] = static_cast<Value>(x[t][i]);
    }
}

template <class Value>
__global__ void unpack_kernel(cuda_rows<Value const> x, float const* scales, cuda_rows<float> y) {
    unsigned const t = blockIdx.x, n = static_cast<unsigned>(x.width);
    float scale = 1;
    if constexpr (std::is_integral_v<Value>) scale = scales[t];
    for (unsigned i = threadIdx.x; i < n; i += blockDim.x) y[t][i] = static_cast<float>(x[t][i]) * scale;
}

}  // namespace device

template <class Value>
void cuda_value_kernels<Value>::pack(cuda_executor const& at, cuda_rows<float const> x, cuda_rows<Value> y, float* scales) {
    unsigned const threads = device::threads_for(x.width);
    device::launch(at, device::pack_kernel<Value>, dim3(static_cast<unsigned>(x.size)), dim3(threads), threads / device::warp * sizeof(float), x, y, scales);
}
template <class Value>
void cuda_value_kernels<Value>::unpack(cuda_executor const& at, cuda_rows<Value const> x, float const* scales, cuda_rows<float> y) {
    device::launch(at, device::unpack_kernel<Value>, dim3(static_cast<unsigned>(x.size)), dim3(device::threads_for(x.width)), 0, x, scales, y);
}

}  // namespace goldfinch::detail
