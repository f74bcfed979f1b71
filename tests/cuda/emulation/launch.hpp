// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
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

inline auto work_of(packed_kernel const& kernel, dim3 grid, dim3 block, std::size_t shared_bytes) {
    return [=] {
        device::get().launched();
        device::access access;
        machine::get().run_grid(kernel.address, grid, block, shared_bytes, kernel.run, kernel.arguments.get());
    };
}

inline cudaError_t launch_packed(packed_kernel const& kernel, dim3 grid, dim3 block, std::size_t shared_bytes, cudaStream_t stream) {
    cudaError_t refused = device::record(check_launch(kernel.address, grid, block, shared_bytes));
    if (refused != cudaSuccess) return refused;
    return enqueue(stream, work_of(kernel, grid, block, shared_bytes));
}

/// How a kernel's arguments are read from their addresses.
class kernel_list {
public:
    using reader = packed_kernel (*)(void const* kernel, void* const* arguments);

    static kernel_list& get() {
        static kernel_list& all = *new kernel_list;
        return all;
    }
    void add(void const* kernel, reader read) {
        std::scoped_lock lock(mutex_);
        readers_[kernel] = read;
    }
    /// Null for what is no kernel.
    reader find(void const* kernel) {
        std::scoped_lock lock(mutex_);
        auto found = readers_.find(kernel);
        return found == readers_.end() ? nullptr : found->second;
    }

private:
    std::mutex mutex_;
    std::map<void const*, reader> readers_;
};

template <class... Parameters, class... Arguments>
packed_kernel pack(void (*kernel)(Parameters...), Arguments&&... arguments) {
    using packed = std::pair<void (*)(Parameters...), std::tuple<Parameters...>>;
    auto run = [](void const* p) { std::apply(static_cast<packed const*>(p)->first, static_cast<packed const*>(p)->second); };
    auto all = std::make_shared<packed const>(kernel, std::tuple<Parameters...>(std::forward<Arguments>(arguments)...));
    return {reinterpret_cast<void const*>(kernel), std::move(all), run};
}

}  // namespace detail

/// Makes a kernel known to calls that get its address and those of its arguments, as nvcc does for all kernels of a program.
template <class... Parameters>
void register_kernel(void (*kernel)(Parameters...)) {
    detail::kernel_list::get().add(reinterpret_cast<void const*>(kernel), [](void const* address, void* const* arguments) {
        auto typed = reinterpret_cast<void (*)(Parameters...)>(const_cast<void*>(address));
        return [&]<std::size_t... i>(std::index_sequence<i...>) {
            return detail::pack(typed, *static_cast<Parameters const*>(arguments[i])...);
        }(std::index_sequence_for<Parameters...>());
    });
}

/// Runs a kernel as kernel<<<grid, block, shared_bytes, stream>>>(arguments...) does, or records it where the stream is captured. What CUDA refuses
/// is its last error; what a GPU leaves undefined is thrown as emulation::fault.
template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes, cudaStream_t stream, Arguments&&... arguments) {
    static_assert(sizeof...(Parameters) == sizeof...(Arguments), "one argument for each parameter of the kernel");
    static_assert((!std::is_reference_v<Parameters> && ...), "a kernel takes its parameters by value");
    static_assert((std::is_trivially_copyable_v<Parameters> && ...), "parameters reach a GPU as bytes");
    detail::machine::get().require_host();
    return detail::launch_packed(detail::pack(kernel, std::forward<Arguments>(arguments)...), grid, block, shared_bytes, stream);
}

}  // namespace emulation

inline cudaError_t cudaLaunchKernel(void const* kernel, dim3 grid, dim3 block, void** arguments, std::size_t shared_bytes, cudaStream_t stream) {
    emulation::detail::machine::get().require_host();
    auto read = emulation::detail::kernel_list::get().find(kernel);
    if (!read) return emulation::device::record(cudaErrorInvalidDeviceFunction);
    emulation::device::get().was_asked();
    return emulation::detail::launch_packed(read(kernel, arguments), grid, block, shared_bytes, stream);
}
