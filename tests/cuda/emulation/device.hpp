// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>

#include "asan.hpp"
#include "order.hpp"
#include "types.hpp"

// The emulated device: its properties, its memory, and what has been asked of it.

// Numbers as in CUDA.
enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInitializationError = 3,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorInvalidMemcpyDirection = 21,
    cudaErrorInsufficientDriver = 35,
    cudaErrorInvalidDeviceFunction = 98,
    cudaErrorNoDevice = 100,
    cudaErrorInvalidDevice = 101,
    cudaErrorInvalidResourceHandle = 400,
    cudaErrorNotReady = 600,
    cudaErrorIllegalAddress = 700,
    cudaErrorLaunchFailure = 719,
    cudaErrorNotSupported = 801,
    cudaErrorStreamCaptureUnsupported = 900,
    cudaErrorUnknown = 999,
};

enum cudaDeviceAttr {
    cudaDevAttrMaxThreadsPerBlock = 1,
    cudaDevAttrMaxSharedMemoryPerBlock = 8,
    cudaDevAttrWarpSize = 10,
    cudaDevAttrMultiProcessorCount = 16,
    cudaDevAttrL2CacheSize = 38,
    cudaDevAttrComputeCapabilityMajor = 75,
    cudaDevAttrComputeCapabilityMinor = 76,
    cudaDevAttrMaxSharedMemoryPerMultiprocessor = 81,
    cudaDevAttrMemoryPoolsSupported = 115,
    cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
};

/// What of CUDA's structure has a meaning here.
struct cudaDeviceProp {
    char name[256] = "emulation on the CPU";
    std::size_t totalGlobalMem = std::size_t{8} << 30;
    std::size_t sharedMemPerBlock = 48 << 10;
    std::size_t sharedMemPerBlockOptin = 163 << 10;
    std::size_t sharedMemPerMultiprocessor = 164 << 10;
    int regsPerBlock = 65536;
    int warpSize = 32;
    int maxThreadsPerBlock = 1024;
    int maxThreadsDim[3] = {1024, 1024, 64};
    int maxGridSize[3] = {2147483647, 65535, 65535};
    int major = 8;
    int minor = 0;
    int multiProcessorCount = 4;
    int maxThreadsPerMultiProcessor = 2048;
    int l2CacheSize = 40 << 20;
};

namespace emulation {

class device {
public:
    cudaDeviceProp properties;  ///< a test may change them
    int count = 1;              ///< of devices: 0 for a machine without one
    /// Whether a stream's work waits until something waits for it, which is when a host notices that it does not; else it is done before the call
    /// returns. Set by the environment variable GOLDFINCH_CUDA_STREAMS=deferred.
    bool deferred = streams_of_environment();

    static device& get() {
        static device& d = *new device;  // outlives all that tests destroy at the end
        return d;
    }

    /// The n-th allocation of device memory from now fails; 0 for none.
    void fail_allocation(std::size_t n) { fails_in_ = n; }
    /// Allocations of device memory so far, also those that failed.
    std::size_t allocations() const { return allocations_; }
    /// Of device memory, of all devices: bytes now allocated, the most there were, and how many pieces.
    std::size_t bytes() const { return bytes_; }
    /// Bytes now allocated on one of several devices.
    std::size_t bytes_on(int number) {
        std::scoped_lock lock(mutex_);
        std::size_t sum = 0;
        for (auto const& [p, size] : device_)
            if (numbers_.at(p) == number) sum += size;
        return sum;
    }
    /// The number of the calling thread's device.
    static int& current() {
        static thread_local int number = 0;
        return number;
    }
    std::size_t peak_bytes() const { return peak_; }
    std::size_t pieces() const { return device_.size(); }
    /// Pinned host memory, streams, events and graphs that have not been freed.
    std::size_t pinned_pieces() const { return pinned_.size(); }
    std::size_t handles() const { return handles_; }
    /// Launches that have run, replayed ones among them.
    std::size_t launches() const { return launches_; }
    /// What hosts asked for: cudaLaunchKernel, cudaGraphLaunch, changed nodes of graphs.
    std::size_t launch_calls() const { return launch_calls_; }
    std::size_t graph_launches() const { return graph_launches_; }
    std::size_t changed_nodes() const { return changed_nodes_; }
    /// Whether graphs can be instantiated: else there is no memory for them.
    bool has_memory_for_graphs = true;
    /// Whether nodes of kernels become what they are changed to: else the call only says that they do.
    bool changes_nodes = true;

    /// Whether AddressSanitizer ends a program whose host reads or writes device memory; takes time at each launch. Without AddressSanitizer nothing
    /// is found, and the answer is false.
    bool guard_from_host(bool on) {
        std::scoped_lock lock(mutex_);
        guarded_ = on && EMULATION_ASAN;
        for (auto const& [p, size] : device_) open_or_close(p, size);
        return guarded_;
    }

    // What follows is for the runtime.

    cudaError_t allocate(void** p, std::size_t size) {
        std::scoped_lock lock(mutex_);
        ++allocations_;
        *p = nullptr;
        if (fails_in_ > 0 && --fails_in_ == 0) return cudaErrorMemoryAllocation;
        if (bytes_ + size > properties.totalGlobalMem) return cudaErrorMemoryAllocation;
        if (size == 0) return cudaSuccess;
        *p = fresh(size);
        if (!*p) return cudaErrorMemoryAllocation;
        device_[static_cast<std::byte*>(*p)] = size;
        numbers_[static_cast<std::byte*>(*p)] = current();
        open_or_close(*p, size);
        bytes_ += size;
        if (bytes_ > peak_) peak_ = bytes_;
        return cudaSuccess;
    }

    cudaError_t release(void* p) {
        if (!p) return cudaSuccess;
        std::scoped_lock lock(mutex_);
        auto found = device_.find(static_cast<std::byte*>(p));
        if (found == device_.end()) return cudaErrorInvalidValue;
        bytes_ -= found->second;
        device_.erase(found);
        numbers_.erase(static_cast<std::byte*>(p));
        std::free(p);
        return cudaSuccess;
    }

    cudaError_t allocate_pinned(void** p, std::size_t size) {
        std::scoped_lock lock(mutex_);
        *p = size == 0 ? nullptr : fresh(size);
        if (size > 0 && !*p) return cudaErrorMemoryAllocation;
        if (*p) pinned_[static_cast<std::byte*>(*p)] = size;
        return cudaSuccess;
    }

    cudaError_t release_pinned(void* p) {
        if (!p) return cudaSuccess;
        std::scoped_lock lock(mutex_);
        if (pinned_.erase(static_cast<std::byte*>(p)) == 0) return cudaErrorInvalidValue;
        std::free(p);
        return cudaSuccess;
    }

    /// Whether the bytes lie within one allocation of device memory.
    bool holds(void const* p, std::size_t size) {
        std::scoped_lock lock(mutex_);
        return within(device_, p, size);
    }
    /// Whether the address lies in device memory.
    bool owns(void const* p) { return holds(p, 1); }
    /// Whether the address lies in pinned memory.
    bool pinned(void const* p) {
        std::scoped_lock lock(mutex_);
        return within(pinned_, p, 1);
    }

    void launched() { ++launches_; }
    void was_asked() { ++launch_calls_; }
    void graph_launched() { ++graph_launches_; }
    void node_changed() { ++changed_nodes_; }
    void made_handle() { ++handles_; }
    void freed_handle() { --handles_; }

    /// Each thread of the host has its own.
    static cudaError_t& last_error() {
        static thread_local cudaError_t e = cudaSuccess;
        return e;
    }
    static cudaError_t record(cudaError_t e) {
        if (e != cudaSuccess) last_error() = e;
        return e;
    }

    /// Shared memory that a launch of the kernel may have.
    std::size_t shared_limit(void const* kernel) {
        std::scoped_lock lock(mutex_);
        auto own = shared_limits_.find(kernel);
        return own == shared_limits_.end() ? properties.sharedMemPerBlock : own->second;
    }
    void set_shared_limit(void const* kernel, std::size_t bytes) {
        std::scoped_lock lock(mutex_);
        shared_limits_[kernel] = bytes;
    }

    /// While the device's own work reads and writes its memory.
    class access {
    public:
        access() { get().count_access(1); }
        ~access() { get().count_access(-1); }
        access(access const&) = delete;
        access& operator=(access const&) = delete;
    };

    std::atomic<int> captures = 0;  ///< streams that are being captured

private:
    void* fresh(std::size_t size) {
        void* p = nullptr;
        if (::posix_memalign(&p, 256, size) != 0) return nullptr;
        std::memset(p, order_in_use().unwritten, size);
        return p;
    }

    void count_access(int change) {
        std::scoped_lock lock(mutex_);
        accesses_ += change;
        if (!guarded_ || accesses_ > 1 || (accesses_ == 1 && change < 0)) return;
        for (auto const& [p, size] : device_) open_or_close(p, size);
    }

    void open_or_close([[maybe_unused]] void* p, [[maybe_unused]] std::size_t size) {
#if EMULATION_ASAN
        if (guarded_ && accesses_ == 0) {
            __asan_poison_memory_region(p, size);
        } else {
            __asan_unpoison_memory_region(p, size);
        }
#endif
    }

    using pieces_of_memory = std::map<std::byte*, std::size_t>;

    static bool within(pieces_of_memory const& all, void const* p, std::size_t size) {
        auto begin = static_cast<std::byte const*>(p);
        auto after = all.upper_bound(const_cast<std::byte*>(begin));
        if (after == all.begin()) return false;
        auto const& [start, length] = *std::prev(after);
        auto offset = static_cast<std::size_t>(begin - start);
        return offset <= length && size <= length - offset;
    }

    static bool streams_of_environment() {
        char const* value = std::getenv("GOLDFINCH_CUDA_STREAMS");
        if (!value || std::string_view(value) == "immediate") return false;
        if (std::string_view(value) == "deferred") return true;
        throw std::invalid_argument(std::string("GOLDFINCH_CUDA_STREAMS is neither immediate nor deferred: ") + value);
    }

    std::mutex mutex_;
    pieces_of_memory device_;
    std::map<std::byte*, int> numbers_;  // of the devices
    pieces_of_memory pinned_;
    std::map<void const*, std::size_t> shared_limits_;
    bool guarded_ = false;
    int accesses_ = 0;  // going on
    std::size_t fails_in_ = 0, allocations_ = 0, bytes_ = 0, peak_ = 0;
    std::atomic<std::size_t> handles_ = 0, launches_ = 0, launch_calls_ = 0, graph_launches_ = 0, changed_nodes_ = 0;
};

}  // namespace emulation
