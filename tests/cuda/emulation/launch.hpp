// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

#include "block.hpp"
#include "device.hpp"
#include "work.hpp"

namespace emulation {
namespace detail {

inline cudaError_t check_launch(void const* kernel, dim3 grid, dim3 block, std::size_t shared_bytes) {
    device& d = device::get();
    if (d.count == 0) return cudaErrorNoDevice;
    cudaDeviceProp const& p = d.properties;
    auto within = [](dim3 size, int const(&most)[3]) {
        return size.x > 0 && size.y > 0 && size.z > 0 && size.x <= static_cast<unsigned>(most[0]) && size.y <= static_cast<unsigned>(most[1]) &&
               size.z <= static_cast<unsigned>(most[2]);
    };
    if (!within(grid, p.maxGridSize) || !within(block, p.maxThreadsDim)) return cudaErrorInvalidConfiguration;
    if (volume(block) > static_cast<std::size_t>(p.maxThreadsPerBlock)) return cudaErrorInvalidConfiguration;
    return shared_bytes > d.shared_limit(kernel) ? cudaErrorInvalidValue : cudaSuccess;
}

/// A kernel and its arguments, of whatever types: run(arguments) is what each thread does.
struct packed_kernel {
    void const* address;
    std::shared_ptr<void const> arguments;
    void (*run)(void const* arguments);
};

inline cudaError_t launch_packed(packed_kernel const& kernel, dim3 grid, dim3 block, std::size_t shared_bytes, cudaStream_t stream) {
    cudaError_t refused = device::record(check_launch(kernel.address, grid, block, shared_bytes));
    if (refused != cudaSuccess) return refused;
    return enqueue(stream, [=] {
        device::get().launched();
        device::access access;
        machine::get().run_grid(kernel.address, grid, block, shared_bytes, kernel.run, kernel.arguments.get());
    });
}

}  // namespace detail

/// Runs a kernel as kernel<<<grid, block, shared_bytes, stream>>>(arguments...) does, or records it where the stream is captured. What CUDA refuses
/// is its last error; what a GPU leaves undefined is thrown as emulation::fault.
template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes, cudaStream_t stream, Arguments&&... arguments) {
    static_assert(sizeof...(Parameters) == sizeof...(Arguments), "one argument for each parameter of the kernel");
    static_assert((!std::is_reference_v<Parameters> && ...), "a kernel takes its parameters by value");
    static_assert((std::is_trivially_copyable_v<Parameters> && ...), "parameters reach a GPU as bytes");
    detail::machine::get().require_host();
    using packed = std::pair<void (*)(Parameters...), std::tuple<Parameters...>>;
    auto run = [](void const* p) { std::apply(static_cast<packed const*>(p)->first, static_cast<packed const*>(p)->second); };
    auto all = std::make_shared<packed const>(kernel, std::tuple<Parameters...>(std::forward<Arguments>(arguments)...));
    return detail::launch_packed({reinterpret_cast<void const*>(kernel), std::move(all), run}, grid, block, shared_bytes, stream);
}

}  // namespace emulation
