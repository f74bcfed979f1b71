// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <goldfinch/backend/cuda.hpp>
#include <goldfinch/backend/cuda/device.cuh>
#include <goldfinch/backend/cuda/driver.cuh>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

// Times of work on a GPU, by CUDA events, and something to work on.

namespace gpu {

namespace gf = goldfinch;
namespace device = gf::detail::device;

/// Numbers in (low, high), which look random: products of zeros would take less power.
template <class T>
__global__ void fill_kernel(T* data, std::size_t n, float low, float high) {
    for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += std::size_t{gridDim.x} * blockDim.x) {
        std::uint32_t const x = static_cast<std::uint32_t>(i) * 2654435761u;
        data[i] = static_cast<T>(low + (high - low) * static_cast<float>((x ^ x >> 15) & 0xffffu) / 65536);
    }
}

template <class T>
gf::cuda_buffer<T> filled(std::size_t n, float low = -1, float high = 1) {
    gf::cuda_buffer<T> result(n);
    device::launch(*gf::detail::cuda_driver<>::recorder(), fill_kernel<T>, dim3(1024), dim3(256), 0, result.data(), n, low, high);
    return result;
}

class event {
public:
    event() { device::check(cudaEventCreate(&event_), "cudaEventCreate"); }
    ~event() { cudaEventDestroy(event_); }
    event(event const&) = delete;
    event& operator=(event const&) = delete;
    void record(void* stream) { device::check(cudaEventRecord(event_, device::as_stream(stream)), "cudaEventRecord"); }
    double seconds_since(event const& start) {
        device::check(cudaEventSynchronize(event_), "cudaEventSynchronize");
        float ms = 0;
        device::check(cudaEventElapsedTime(&ms, start.event_, event_), "cudaEventElapsedTime");
        return static_cast<double>(ms) * 1e-3;
    }

private:
    cudaEvent_t event_ = nullptr;
};

/// The median time of a call of f(i), the i-th, of several one after another in the stream.
template <class Call>
double seconds(gf::cuda_executor const& at, Call const& f) {
    constexpr std::size_t warm_up = 3, rounds = 20, calls = 8;
    std::vector<double> times;
    event start, stop;
    at.recorder->begin_pass(gf::detail::cuda_recorder::most_tokens + 1);  // launches as they come
    for (std::size_t i = 0; i < warm_up + rounds; ++i) {
        start.record(at.recorder->stream);
        for (std::size_t call = 0; call < calls; ++call) f(i * calls + call);
        stop.record(at.recorder->stream);
        times.push_back(stop.seconds_since(start) / calls);
    }
    times.erase(times.begin(), times.begin() + warm_up);
    std::nth_element(times.begin(), times.begin() + rounds / 2, times.end());
    return times[rounds / 2];
}

}  // namespace gpu
