// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <goldfinch/error.hpp>

namespace goldfinch {

/// A call of the CUDA runtime that failed: names the call, what CUDA says of it, and the device.
struct cuda_error : error {
    using error::error;
};

namespace detail {

class cuda_recorder;

/// Of a grid or a block.
struct cuda_extents {
    unsigned x = 1, y = 1, z = 1;
};
/// A launch of a kernel, with the addresses of its arguments.
struct cuda_launch {
    void const* kernel;
    cuda_extents grid, block;
    std::size_t shared;  ///< bytes of shared memory
    void** arguments;
};
/// Bytes of pinned memory that go to the device.
struct cuda_transfer {
    void* to;
    void const* pinned;
    std::size_t bytes;
};

/// Calls of the CUDA runtime, for code that any compiler compiles: cuda.cuh defines them, in the source file that nvcc compiles. Memory is that of the
/// calling thread's current device. Copies and zeros take their place among the work of the runtime::lease that the thread holds, or else are done when the
/// call returns. They throw cuda_error.
template <class OnDemand = void>
struct cuda_driver {
    static void* allocate(std::size_t bytes);
    /// Whether the device has so much memory.
    static bool try_allocate(void*& p, std::size_t bytes);
    /// Waits for the device. Memory that recorded work may use goes when that has been launched.
    static void free(void* p) noexcept;
    static void* allocate_pinned(std::size_t bytes);
    static void free_pinned(void* p) noexcept;
    static void upload(void* to, void const* host, std::size_t bytes);
    static void download(void const* from, void* host, std::size_t bytes);
    static void copy(void* to, void const* from, std::size_t bytes);
    static void clear(void* to, std::size_t bytes);
    /// Of memory that was just allocated: before all that is recorded.
    static void clear_fresh(void* to, std::size_t bytes);
    /// The same for rows of so many bytes that lie `pitch` bytes apart.
    static void copy_rows(void* to, std::size_t to_pitch, void const* from, std::size_t from_pitch, std::size_t row_bytes, std::size_t rows);
    static void clear_rows(void* to, std::size_t pitch, std::size_t row_bytes, std::size_t rows);

    /// Into a stream, at once.
    static void launch(void* stream, cuda_launch const& what);
    static void transfer(void* stream, cuda_transfer const& what);

    /// CUDA graphs, whose nodes follow one another: `after` is the last one so far, or null.
    static void* make_graph();
    static void* add_node(void* graph, void* after, cuda_launch const& what);
    static void* add_node(void* graph, void* after, cuda_transfer const& what);
    static void* instantiate(void* graph);
    /// Changes a node, which stays a launch of the same kernel, for launches of the graph from now on.
    static void set_node(void* executable, void* node, cuda_launch const& what);
    static void set_node(void* executable, void* node, cuda_transfer const& what);
    static void launch_graph(void* executable, void* stream);
    static void free_graph(void* graph, void* executable) noexcept;

    /// The thread's current device.
    static int device();
    static void set_device(int device);
    /// Throws where there is no such device, or it cannot be used.
    static void check_device(int device);
    static int multiprocessors(int device);
    /// Bytes of its L2 cache.
    static std::size_t cache_bytes(int device);

    static void* make_stream();
    static void free_stream(void* stream) noexcept;
    /// Waits for all work in a stream, and throws what went wrong in it.
    static void synchronize(void* stream);
    /// The same, but says whether it went well.
    static bool wait(void* stream) noexcept;
    /// Of the lease that the thread holds, or null.
    static cuda_recorder*& recorder();
};

/// Makes a device the thread's current one for a scope.
class cuda_device_scope {
public:
    explicit cuda_device_scope(int device) : before_(cuda_driver<>::device()) {
        if (device != before_) cuda_driver<>::set_device(device);
    }
    cuda_device_scope(cuda_device_scope const&) = delete;
    cuda_device_scope& operator=(cuda_device_scope const&) = delete;
    ~cuda_device_scope() {
        try {
            cuda_driver<>::set_device(before_);
        } catch (cuda_error const&) {  // a device that is lost says so at the next call
        }
    }

private:
    int before_;
};

}  // namespace detail

}  // namespace goldfinch
