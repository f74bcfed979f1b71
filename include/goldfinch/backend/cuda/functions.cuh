// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <goldfinch/backend/cuda/device.cuh>
#include <goldfinch/backend/cuda/functions.hpp>
#include <goldfinch/backend/cuda/kernels.hpp>

namespace goldfinch::detail {

namespace device {

template <class F, class... Arguments>
__global__ void transform_kernel(F f, unsigned width, Arguments... arguments) {
    unsigned const c = blockIdx.x * blockDim.x + threadIdx.x, t = blockIdx.y;
    if (c < width) f(arguments.at(t, c, nullptr)...);
}

/// A thread a channel of a sequence.
template <class F, class... Arguments>
__global__ void scan_kernel(F f, unsigned width, cuda_sequences of, Arguments... arguments) {
    unsigned const c = blockIdx.x * blockDim.x + threadIdx.x;
    auto const& sequence = of.each[blockIdx.y];
    if (c >= width) return;
    for (unsigned t = sequence.first; t < sequence.end; ++t) f(arguments.at(t, c, sequence.state)...);
}

}  // namespace device

template <class F, class... Arguments>
void cuda_functions<F, Arguments...>::transform(cuda_executor const& at, F const& f, std::size_t rows, std::size_t width, Arguments const&... arguments) {
    unsigned const threads = device::threads_for(width);
    device::launch(at, device::transform_kernel<F, Arguments...>, dim3(device::divide_up(width, threads), static_cast<unsigned>(rows)), dim3(threads), 0, f,
                   static_cast<unsigned>(width), arguments...);
}
template <class F, class... Arguments>
void cuda_functions<F, Arguments...>::scan(cuda_executor const& at, F const& f, std::size_t width, cuda_sequences const& of, Arguments const&... arguments) {
    unsigned const threads = device::threads_for(width, 64);  // small blocks: there are only as many threads as channels
    device::launch(at, device::scan_kernel<F, Arguments...>, dim3(device::divide_up(width, threads), of.size), dim3(threads), 0, f,
                   static_cast<unsigned>(width), of, arguments...);
}

}  // namespace goldfinch::detail
