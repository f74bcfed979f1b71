// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <type_traits>

#include <goldfinch/backend/cuda/device.cuh>
#include <goldfinch/backend/cuda/kernels.hpp>
#include <goldfinch/backend/cuda/row_runs.cuh>

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
struct packed_rows {
    cuda_rows<Value const> x = {};
    float const* scales = nullptr;
};
template <class Value>
__global__ void unpack_kernel(__grid_constant__ row_runs<packed_rows<Value>> const rows) {
    unsigned const t = blockIdx.x, n = static_cast<unsigned>(rows.y.width);
    unsigned row = t;
    packed_rows<Value> const& from = rows.run_of(row);
    float scale = 1;
    if constexpr (std::is_integral_v<Value>) scale = from.scales[row];
    for (unsigned i = threadIdx.x; i < n; i += blockDim.x) rows.y[t][i] = static_cast<float>(from.x[row][i]) * scale;
}

}  // namespace device

template <class Value>
void cuda_value_kernels<Value>::pack(cuda_executor const& at, cuda_rows<float const> x, cuda_rows<Value> y, float* scales) {
    unsigned const threads = device::threads_for(x.width);
    device::launch(at, device::pack_kernel<Value>, dim3(static_cast<unsigned>(x.size)), dim3(threads), threads / device::warp * sizeof(float), x, y, scales);
}
template <class Value>
void cuda_value_kernels<Value>::unpack(cuda_executor const& at, cuda_rows<Value const> x, float const* scales, cuda_rows<float> y) {
    device::packed_rows<Value> const from{x, scales};
    cuda_recording& recorded = at.recorder->recorded();
    auto before = recorded.argument<device::row_runs<device::packed_rows<Value>>>(reinterpret_cast<void const*>(device::unpack_kernel<Value>));
    if (before && before->takes(y) && apart(x, before->y) && apart(cuda_rows<float const>{scales, 1, x.size, x.size}, before->y)) {
        before->add(from, y);
        recorded.change_argument(*before);
        return recorded.widen_grid(static_cast<unsigned>(x.size), 1);
    }
    device::row_runs<device::packed_rows<Value>> rows;
    rows.add(from, y);
    device::launch(at, device::unpack_kernel<Value>, dim3(static_cast<unsigned>(x.size)), dim3(device::threads_for(x.width)), 0, rows);
}

}  // namespace goldfinch::detail
