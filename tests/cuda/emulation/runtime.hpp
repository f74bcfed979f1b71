// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "device.hpp"
#include "work.hpp"

// The part of the CUDA runtime that a program needs, with its own signatures, on host memory. A host that reads or
// writes device memory itself is found where device::guard_from_host() is on, and by the kinds of copies.

enum cudaMemcpyKind {
    cudaMemcpyHostToHost = 0,
    cudaMemcpyHostToDevice = 1,
    cudaMemcpyDeviceToHost = 2,
    cudaMemcpyDeviceToDevice = 3,
    cudaMemcpyDefault = 4,
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8, cudaFuncAttributePreferredSharedMemoryCarveout = 9 };
enum cudaStreamCaptureMode { cudaStreamCaptureModeGlobal = 0, cudaStreamCaptureModeThreadLocal = 1, cudaStreamCaptureModeRelaxed = 2 };
enum cudaStreamCaptureStatus { cudaStreamCaptureStatusNone = 0, cudaStreamCaptureStatusActive = 1, cudaStreamCaptureStatusInvalidated = 2 };

inline constexpr unsigned cudaStreamDefault = 0;
inline constexpr unsigned cudaStreamNonBlocking = 1;
inline constexpr unsigned cudaEventDefault = 0;
inline constexpr unsigned cudaEventBlockingSync = 1;
inline constexpr unsigned cudaEventDisableTiming = 2;
inline constexpr unsigned cudaHostAllocDefault = 0;

namespace emulation::detail {

/// Whether both sides of a copy lie where its kind says.
inline cudaError_t check_copy(void const* to, void const* from, std::size_t size, cudaMemcpyKind kind) {
    if (size == 0) return cudaSuccess;
    device& d = device::get();
    bool to_device = d.owns(to), from_device = d.owns(from);
    if (kind != cudaMemcpyDefault && kind != static_cast<cudaMemcpyKind>((from_device ? 2 : 0) + (to_device ? 1 : 0))) return cudaErrorInvalidValue;
    if ((to_device && !d.holds(to, size)) || (from_device && !d.holds(from, size))) return cudaErrorInvalidValue;
    return cudaSuccess;
}

inline void copy_rows(void* to, std::size_t to_pitch, void const* from, std::size_t from_pitch, std::size_t width, std::size_t height) {
    device::access access;
    for (std::size_t row = 0; row < height; ++row) {
        std::memmove(static_cast<std::byte*>(to) + row * to_pitch, static_cast<std::byte const*>(from) + row * from_pitch, width);
    }
}

/// A copy by a stream. Host memory that is not pinned has been read, or written, when the call returns.
inline cudaError_t enqueue_copy(void* to, std::size_t to_pitch, void const* from, std::size_t from_pitch, std::size_t width, std::size_t height,
                                cudaStream_t stream) {
    device& d = device::get();
    bool later = stream && !stream->capturing && d.deferred;
    if (later && !d.owns(from) && !d.pinned(from)) {
        auto first = static_cast<std::byte const*>(from);
        auto staged = std::make_shared<std::vector<std::byte>>(first, first + (height - 1) * from_pitch + width);
        enqueue(stream, [=] { copy_rows(to, to_pitch, staged->data(), from_pitch, width, height); });
    } else {
        enqueue(stream, [=] { copy_rows(to, to_pitch, from, from_pitch, width, height); });
    }
    if (later && !d.owns(to) && !d.pinned(to)) stream_list::get().finish(stream);
    return cudaSuccess;
}

}  // namespace emulation::detail

inline char const* cudaGetErrorName(cudaError_t e) {
    switch (e) {
#define EMULATION_NAME(name) \
    case name: return #name;
        EMULATION_NAME(cudaSuccess)
        EMULATION_NAME(cudaErrorInvalidValue)
        EMULATION_NAME(cudaErrorMemoryAllocation)
        EMULATION_NAME(cudaErrorInitializationError)
        EMULATION_NAME(cudaErrorInvalidConfiguration)
        EMULATION_NAME(cudaErrorInvalidMemcpyDirection)
        EMULATION_NAME(cudaErrorInsufficientDriver)
        EMULATION_NAME(cudaErrorInvalidDeviceFunction)
        EMULATION_NAME(cudaErrorNoDevice)
        EMULATION_NAME(cudaErrorInvalidDevice)
        EMULATION_NAME(cudaErrorInvalidResourceHandle)
        EMULATION_NAME(cudaErrorNotReady)
        EMULATION_NAME(cudaErrorIllegalAddress)
        EMULATION_NAME(cudaErrorLaunchFailure)
        EMULATION_NAME(cudaErrorNotSupported)
        EMULATION_NAME(cudaErrorStreamCaptureUnsupported)
        EMULATION_NAME(cudaErrorUnknown)
#undef EMULATION_NAME
    }
    return "unrecognized error code";
}

inline char const* cudaGetErrorString(cudaError_t e) {
    switch (e) {
        case cudaSuccess: return "no error";
        case cudaErrorInvalidValue: return "invalid argument";
        case cudaErrorMemoryAllocation: return "out of memory";
        case cudaErrorInitializationError: return "initialization error";
        case cudaErrorInvalidConfiguration: return "invalid configuration argument";
        case cudaErrorInvalidMemcpyDirection: return "invalid copy direction for memcpy";
        case cudaErrorInsufficientDriver: return "CUDA driver version is insufficient for CUDA runtime version";
        case cudaErrorInvalidDeviceFunction: return "invalid device function";
        case cudaErrorNoDevice: return "no CUDA-capable device is detected";
        case cudaErrorInvalidDevice: return "invalid device ordinal";
        case cudaErrorInvalidResourceHandle: return "invalid resource handle";
        case cudaErrorNotReady: return "device not ready";
        case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
        case cudaErrorLaunchFailure: return "unspecified launch failure";
        case cudaErrorNotSupported: return "operation not supported";
        case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
        case cudaErrorUnknown: return "unknown error";
    }
    return "unrecognized error code";
}

inline cudaError_t cudaGetLastError() { return std::exchange(emulation::device::last_error(), cudaSuccess); }
inline cudaError_t cudaPeekAtLastError() { return emulation::device::last_error(); }

inline cudaError_t cudaGetDeviceCount(int* count) {
    *count = emulation::device::get().count;
    return emulation::detail::on_device([](auto&) { return cudaSuccess; });
}
inline cudaError_t cudaGetDevice(int* device) {
    return emulation::detail::on_device([&](auto& d) { return *device = d.current(), cudaSuccess; });
}
inline cudaError_t cudaSetDevice(int device) {
    return emulation::detail::on_device([&](auto& d) {
        if (device < 0 || device >= d.count) return cudaErrorInvalidDevice;
        d.current() = device;
        return cudaSuccess;
    });
}
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
    return emulation::detail::on_device([&](auto& d) {
        if (device < 0 || device >= d.count) return cudaErrorInvalidDevice;
        *properties = d.properties;
        return cudaSuccess;
    });
}
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
    return emulation::detail::on_device([&](auto& d) {
        if (device < 0 || device >= d.count) return cudaErrorInvalidDevice;
        cudaDeviceProp const& p = d.properties;
        switch (attribute) {
            case cudaDevAttrMaxThreadsPerBlock: *value = p.maxThreadsPerBlock; break;
            case cudaDevAttrMaxSharedMemoryPerBlock: *value = static_cast<int>(p.sharedMemPerBlock); break;
            case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = static_cast<int>(p.sharedMemPerBlockOptin); break;
            case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = static_cast<int>(p.sharedMemPerMultiprocessor); break;
            case cudaDevAttrWarpSize: *value = p.warpSize; break;
            case cudaDevAttrMultiProcessorCount: *value = p.multiProcessorCount; break;
            case cudaDevAttrL2CacheSize: *value = p.l2CacheSize; break;
            case cudaDevAttrComputeCapabilityMajor: *value = p.major; break;
            case cudaDevAttrComputeCapabilityMinor: *value = p.minor; break;
            case cudaDevAttrMemoryPoolsSupported: *value = 1; break;
            default: return cudaErrorInvalidValue;
        }
        return cudaSuccess;
    });
}
inline cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
    return emulation::detail::on_device([&](auto& d) {
        *total = d.properties.totalGlobalMem;
        *free = *total - d.bytes();
        return cudaSuccess;
    });
}
inline cudaError_t cudaDeviceSynchronize() {
    return emulation::detail::after_all_work([](auto&) { return cudaSuccess; });
}

inline cudaError_t cudaMalloc(void** p, std::size_t size) {
    return emulation::detail::outside_of_captures([&](auto& d) { return d.allocate(p, size); });
}
inline cudaError_t cudaFree(void* p) {
    return emulation::detail::after_all_work([&](auto& d) { return d.release(p); });
}
inline cudaError_t cudaMallocAsync(void** p, std::size_t size, cudaStream_t) { return cudaMalloc(p, size); }
inline cudaError_t cudaFreeAsync(void* p, cudaStream_t stream) {
    return emulation::detail::outside_of_captures([&](auto& d) {
        if (p && !d.owns(p)) return cudaErrorInvalidValue;
        return emulation::detail::enqueue(stream, [p, &d] { d.release(p); });
    });
}
inline cudaError_t cudaMallocHost(void** p, std::size_t size) {
    return emulation::detail::on_device([&](auto& d) { return d.allocate_pinned(p, size); });
}
inline cudaError_t cudaHostAlloc(void** p, std::size_t size, unsigned) { return cudaMallocHost(p, size); }
inline cudaError_t cudaFreeHost(void* p) {
    return emulation::detail::after_all_work([&](auto& d) { return d.release_pinned(p); });
}
template <class T>
cudaError_t cudaMalloc(T** p, std::size_t size) {
    return cudaMalloc(reinterpret_cast<void**>(p), size);
}
template <class T>
cudaError_t cudaMallocAsync(T** p, std::size_t size, cudaStream_t stream) {
    return cudaMallocAsync(reinterpret_cast<void**>(p), size, stream);
}
template <class T>
cudaError_t cudaMallocHost(T** p, std::size_t size) {
    return cudaMallocHost(reinterpret_cast<void**>(p), size);
}

inline cudaError_t cudaMemcpyAsync(void* to, void const* from, std::size_t size, cudaMemcpyKind kind, cudaStream_t stream = nullptr) {
    return emulation::detail::on_device([&](auto&) {
        cudaError_t wrong = emulation::detail::check_copy(to, from, size, kind);
        if (wrong != cudaSuccess || size == 0) return wrong;
        return emulation::detail::enqueue_copy(to, size, from, size, size, 1, stream);
    });
}
inline cudaError_t cudaMemcpy(void* to, void const* from, std::size_t size, cudaMemcpyKind kind) {
    return emulation::detail::outside_of_captures([&](auto&) { return cudaMemcpyAsync(to, from, size, kind); });
}
inline cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, void const* from, std::size_t from_pitch, std::size_t width, std::size_t height,
                                     cudaMemcpyKind kind, cudaStream_t stream = nullptr) {
    return emulation::detail::on_device([&](auto&) {
        if (height == 0 || width == 0) return cudaSuccess;
        if (width > to_pitch || width > from_pitch) return cudaErrorInvalidValue;
        for (std::size_t row : {std::size_t{0}, height - 1}) {
            auto wrong = emulation::detail::check_copy(static_cast<std::byte*>(to) + row * to_pitch,
                                                       static_cast<std::byte const*>(from) + row * from_pitch, width, kind);
            if (wrong != cudaSuccess) return wrong;
        }
        return emulation::detail::enqueue_copy(to, to_pitch, from, from_pitch, width, height, stream);
    });
}
inline cudaError_t cudaMemcpy2D(void* to, std::size_t to_pitch, void const* from, std::size_t from_pitch, std::size_t width, std::size_t height,
                                cudaMemcpyKind kind) {
    return emulation::detail::outside_of_captures([&](auto&) { return cudaMemcpy2DAsync(to, to_pitch, from, from_pitch, width, height, kind); });
}
inline cudaError_t cudaMemsetAsync(void* p, int value, std::size_t size, cudaStream_t stream = nullptr) {
    return emulation::detail::on_device([&](auto& d) {
        if (size == 0) return cudaSuccess;
        if (!d.holds(p, size)) return cudaErrorInvalidValue;
        return emulation::detail::enqueue(stream, [=] {
            emulation::device::access access;
            std::memset(p, value, size);
        });
    });
}
inline cudaError_t cudaMemset(void* p, int value, std::size_t size) {
    return emulation::detail::outside_of_captures([&](auto&) { return cudaMemsetAsync(p, value, size); });
}
