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

/// Calls of the CUDA runtime, for code that any compiler compiles: cuda.cuh defines them, in the source file that nvcc compiles. Memory is that of the
/// calling thread's current device. Copies and zeros take their place in the stream of the runtime::lease that the thread holds, or else are done when the call
/// returns. They throw cuda_error.
template <class OnDemand = void>
struct cuda_driver {
    static void* allocate(std::size_t bytes);
    static void free(void* p) noexcept;
    static void upload(void* to, void const* host, std::size_t bytes);
    static void download(void const* from, void* host, std::size_t bytes);
    static void copy(void* to, void const* from, std::size_t bytes);
    static void clear(void* to, std::size_t bytes);
    /// The same for rows of so many bytes that lie `pitch` bytes apart.
    static void copy_rows(void* to, std::size_t to_pitch, void const* from, std::size_t from_pitch, std::size_t row_bytes, std::size_t rows);
    static void clear_rows(void* to, std::size_t pitch, std::size_t row_bytes, std::size_t rows);

    /// The thread's current device.
    static int device();
    static void set_device(int device);
    /// Throws where there is no such device, or it cannot be used.
    static void check_device(int device);
    static int multiprocessors(int device);

    static void* make_stream();
    static void free_stream(void* stream) noexcept;
    /// Waits for all work in a stream; says whether it went well.
    static bool wait(void* stream) noexcept;
    /// The stream in which the thread works, or null.
    static void*& current_stream();
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
