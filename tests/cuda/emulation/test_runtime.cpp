// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <cuda/emulation.hpp>
#include <string>
#include <thread>
#include <vector>

// The part of the CUDA runtime that the emulation has.

namespace {

using emulation::buffer;
using emulation::device;
using emulation::launch;

__global__ void add_one(float* p) { p[threadIdx.x] += 1; }

__global__ void waits_and_adds(float* p, int times) {
    for (int i = 0; i < times; ++i) {
        p[blockIdx.x * blockDim.x + threadIdx.x] += 1;
        __syncthreads();
    }
}

__global__ void barrier_in_branch(int) {
    if (threadIdx.x == 0) __syncthreads();
}

/// Leaves the device as it was.
struct device_as_it_was {
    cudaDeviceProp properties = device::get().properties;
    int count = device::get().count;
    bool deferred = device::get().deferred;
    device_as_it_was() { device::get().deferred = false; }
    ~device_as_it_was() {
        device::get().properties = properties;
        device::get().count = count;
        device::get().deferred = deferred;
        device::get().fail_allocation(0);
        cudaGetLastError();
    }
};

TEST_CASE("device memory starts as NaN, is counted, and is copied only as the kind of a copy says") {
    device_as_it_was restore;
    emulation::scoped_order ascending(emulation::order{});
    std::size_t bytes = device::get().bytes(), pieces = device::get().pieces();
    float* p = nullptr;
    REQUIRE(cudaMalloc(&p, 100) == cudaSuccess);
    CHECK(reinterpret_cast<std::uintptr_t>(p) % 256 == 0);
    CHECK(device::get().bytes() == bytes + 100);
    float host[25] = {};
    CHECK(cudaMemcpy(host, p, sizeof host, cudaMemcpyDeviceToHost) == cudaSuccess);
    for (float x : host) CHECK(std::isnan(x));
    CHECK(cudaMemset(p, 0, 100) == cudaSuccess);
    CHECK(cudaMemcpyAsync(host, p, sizeof host, cudaMemcpyDefault, nullptr) == cudaSuccess);
    CHECK(host[24] == 0);

    CHECK(cudaMemcpy(p, host, sizeof host, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);
    CHECK(cudaMemcpy(host, host, sizeof host, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
    CHECK(cudaMemcpy(p, host, sizeof host + 1, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
    CHECK(cudaMemset(p + 1, 0, 100) == cudaErrorInvalidValue);
    CHECK(cudaMemset(host, 0, 4) == cudaErrorInvalidValue);
    CHECK(cudaMemset(p + 1, 0, 96) == cudaSuccess);
    CHECK(cudaFree(p + 1) == cudaErrorInvalidValue);
    CHECK(cudaFree(p) == cudaSuccess);
    CHECK(cudaFree(p) == cudaErrorInvalidValue);
    CHECK(cudaFree(nullptr) == cudaSuccess);
    CHECK(device::get().bytes() == bytes);
    CHECK(device::get().pieces() == pieces);
    CHECK(cudaGetLastError() == cudaErrorInvalidValue);
    CHECK(cudaPeekAtLastError() == cudaSuccess);
}

TEST_CASE("rows are copied between pitches") {
    std::vector<int> in = {1, 2, 3, 4, 5, 6};
    buffer<int> p(std::vector<int>(8, 9));
    CHECK(cudaMemcpy2DAsync(p.data(), 16, in.data(), 12, 8, 2, cudaMemcpyHostToDevice) == cudaSuccess);
    CHECK(p.values() == std::vector<int>{1, 2, 9, 9, 4, 5, 9, 9});
    CHECK(cudaMemcpy2DAsync(p.data(), 4, in.data(), 12, 8, 2, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
    CHECK(cudaMemcpy2DAsync(p.data(), 16, in.data(), 12, 8, 3, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
    CHECK(cudaMemcpy2DAsync(p.data(), 16, in.data(), 0, 0, 3, cudaMemcpyHostToDevice) == cudaSuccess);
    cudaGetLastError();
}

TEST_CASE("a test can run out of memory") {
    device_as_it_was restore;
    void* p = nullptr;
    void* q = nullptr;
    device::get().fail_allocation(2);
    CHECK(cudaMalloc(&p, 8) == cudaSuccess);
    CHECK(cudaMalloc(&q, 8) == cudaErrorMemoryAllocation);
    CHECK(q == nullptr);
    CHECK(cudaGetErrorName(cudaGetLastError()) == std::string("cudaErrorMemoryAllocation"));
    CHECK(cudaMallocAsync(&q, 8, nullptr) == cudaSuccess);
    CHECK(cudaFreeAsync(q, nullptr) == cudaSuccess);
    device::get().properties.totalGlobalMem = device::get().bytes() + 100;
    std::size_t free = 0, total = 0;
    CHECK(cudaMemGetInfo(&free, &total) == cudaSuccess);
    CHECK(free == 100);
    CHECK(cudaMalloc(&q, 101) == cudaErrorMemoryAllocation);
    CHECK(cudaMalloc(&q, 100) == cudaSuccess);
    CHECK(cudaFree(q) == cudaSuccess);
    CHECK(cudaFree(p) == cudaSuccess);
    CHECK(cudaGetErrorString(cudaErrorMemoryAllocation) == std::string("out of memory"));

    std::size_t pinned = device::get().pinned_pieces();
    CHECK(cudaMallocHost(&p, 10) == cudaSuccess);
    CHECK(device::get().pinned_pieces() == pinned + 1);
    CHECK(cudaFreeHost(p) == cudaSuccess);
    CHECK(device::get().pinned_pieces() == pinned);
}

TEST_CASE("a test can have no device") {
    device_as_it_was restore;
    buffer<float> p(std::vector<float>(1));
    device::get().count = 0;
    int count = 5;
    CHECK(cudaGetDeviceCount(&count) == cudaErrorNoDevice);
    CHECK(count == 0);
    void* q = nullptr;
    CHECK(cudaMalloc(&q, 8) == cudaErrorNoDevice);
    CHECK(cudaSetDevice(0) == cudaErrorNoDevice);
    CHECK(launch(add_one, 1, 1, 0, nullptr, p.data()) == cudaErrorNoDevice);
    CHECK(cudaGetErrorString(cudaGetLastError()) == std::string("no CUDA-capable device is detected"));
    device::get().count = 1;
    CHECK(p.values()[0] == 0);
    CHECK(cudaSetDevice(1) == cudaErrorInvalidDevice);
    CHECK(cudaGetDeviceCount(&count) == cudaSuccess);
    CHECK(count == 1);
    cudaDeviceProp properties;
    CHECK(cudaGetDeviceProperties(&properties, 0) == cudaSuccess);
    int major = 0;
    CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0) == cudaSuccess);
    CHECK(major == properties.major);
}

TEST_CASE("streams and events") {
    device_as_it_was restore;
    std::size_t handles = device::get().handles();
    cudaStream_t stream = nullptr;
    cudaEvent_t begin = nullptr, end = nullptr;
    CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess);
    CHECK(cudaEventCreate(&begin) == cudaSuccess);
    CHECK(cudaEventCreateWithFlags(&end, cudaEventDefault) == cudaSuccess);
    float milliseconds = -1;
    CHECK(cudaEventElapsedTime(&milliseconds, begin, end) == cudaErrorInvalidResourceHandle);
    CHECK(cudaEventRecord(begin, stream) == cudaSuccess);
    CHECK(cudaEventRecord(end, stream) == cudaSuccess);
    CHECK(cudaStreamWaitEvent(stream, end) == cudaSuccess);
    CHECK(cudaEventSynchronize(end) == cudaSuccess);
    CHECK(cudaEventElapsedTime(&milliseconds, begin, end) == cudaSuccess);
    CHECK(milliseconds >= 0);
    CHECK(cudaStreamSynchronize(stream) == cudaSuccess);
    CHECK(cudaDeviceSynchronize() == cudaSuccess);
    CHECK(device::get().handles() == handles + 3);
    CHECK(cudaEventDestroy(begin) == cudaSuccess);
    CHECK(cudaEventDestroy(end) == cudaSuccess);
    CHECK(cudaStreamDestroy(stream) == cudaSuccess);
    CHECK(device::get().handles() == handles);
    cudaGetLastError();
}

TEST_CASE("a captured stream does its work when the graph is launched") {
    device_as_it_was restore;
    std::size_t handles = device::get().handles();
    buffer<float> p(std::vector<float>{1, 2}), q(2);
    cudaStream_t stream = nullptr;
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
    CHECK(launch(add_one, 1, 2, 0, stream, p.data()) == cudaSuccess);
    CHECK(launch(add_one, 1, 2, 0, stream, p.data()) == cudaSuccess);
    CHECK(cudaMemcpyAsync(q.data(), p.data(), 8, cudaMemcpyDeviceToDevice, stream) == cudaSuccess);
    CHECK(cudaMemsetAsync(p.data() + 1, 0, 4, stream) == cudaSuccess);
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    CHECK(cudaStreamIsCapturing(stream, &status) == cudaSuccess);
    CHECK(status == cudaStreamCaptureStatusActive);
    CHECK(cudaStreamEndCapture(stream, &graph) == cudaSuccess);
    CHECK(p.values() == std::vector<float>{1, 2});
    CHECK(cudaGraphInstantiate(&executable, graph, 0) == cudaSuccess);
    CHECK(cudaGraphDestroy(graph) == cudaSuccess);
    std::size_t launches = device::get().launches();
    CHECK(cudaGraphLaunch(executable, stream) == cudaSuccess);
    CHECK(q.values() == std::vector<float>{3, 4});
    CHECK(cudaGraphLaunch(executable, stream) == cudaSuccess);
    CHECK(q.values() == std::vector<float>{5, 2});
    CHECK(device::get().launches() == launches + 4);
    CHECK(cudaGraphExecDestroy(executable) == cudaSuccess);

    // What may not happen while a stream is captured.
    CHECK(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeGlobal) == cudaErrorStreamCaptureUnsupported);
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal) == cudaSuccess);
    void* more = nullptr;
    CHECK(cudaMalloc(&more, 8) == cudaErrorStreamCaptureUnsupported);
    CHECK(cudaMemset(p.data(), 0, 8) == cudaErrorStreamCaptureUnsupported);
    CHECK(cudaStreamSynchronize(stream) == cudaErrorStreamCaptureUnsupported);
    CHECK(cudaStreamEndCapture(stream, &graph) == cudaErrorStreamCaptureUnsupported);
    CHECK(graph == nullptr);
    CHECK(cudaStreamEndCapture(stream, &graph) == cudaErrorInvalidValue);
    CHECK(cudaStreamDestroy(stream) == cudaSuccess);
    CHECK(device::get().handles() == handles);
    cudaGetLastError();
}

TEST_CASE("deferred streams: a host that does not wait sees what was there before") {
    device_as_it_was restore;
    device::get().deferred = true;
    cudaStream_t first = nullptr, second = nullptr;
    cudaEvent_t event = nullptr;
    cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking);
    cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking);
    cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
    float* pinned = nullptr;
    cudaMallocHost(&pinned, 8);
    buffer<float> p(std::vector<float>{0, 0});

    // The source of a copy is pinned memory, which is overwritten before the copy happens.
    pinned[0] = pinned[1] = 1;
    CHECK(cudaMemcpyAsync(p.data(), pinned, 8, cudaMemcpyHostToDevice, first) == cudaSuccess);
    pinned[1] = 5;
    CHECK(cudaEventRecord(event, first) == cudaSuccess);
    launch(add_one, 1, 2, 0, first, p.data());
    CHECK(p.values() == std::vector<float>{0, 0});  // by the default stream, for which this one does not wait
    CHECK(cudaEventSynchronize(event) == cudaSuccess);
    CHECK(p.values() == std::vector<float>{1, 5});
    CHECK(cudaStreamSynchronize(first) == cudaSuccess);
    CHECK(p.values() == std::vector<float>{2, 6});

    // Streams that do not wait for each other, and that do.
    launch(add_one, 1, 2, 0, first, p.data());
    CHECK(cudaMemcpyAsync(pinned, p.data(), 8, cudaMemcpyDeviceToHost, second) == cudaSuccess);
    CHECK(cudaStreamSynchronize(second) == cudaSuccess);
    CHECK(pinned[0] == 2);
    cudaEventRecord(event, first);
    cudaStreamWaitEvent(second, event);
    CHECK(cudaMemcpyAsync(pinned, p.data(), 8, cudaMemcpyDeviceToHost, second) == cudaSuccess);
    CHECK(pinned[0] == 2);
    CHECK(cudaStreamSynchronize(second) == cudaSuccess);
    CHECK(pinned[0] == 3);

    // Other host memory has been read, or written, when the call returns.
    {
        std::vector<float> plain = {7, 8};
        CHECK(cudaMemcpyAsync(p.data(), plain.data(), 8, cudaMemcpyHostToDevice, first) == cudaSuccess);
    }
    float back[2] = {};
    launch(add_one, 1, 2, 0, first, p.data());
    CHECK(cudaMemcpyAsync(back, p.data(), 8, cudaMemcpyDeviceToHost, first) == cudaSuccess);
    CHECK(back[1] == 9);

    // Memory that a stream frees later.
    float* brief = nullptr;
    cudaMallocAsync(&brief, 8, first);
    cudaMemsetAsync(brief, 0, 8, first);
    launch(add_one, 1, 2, 0, first, brief);
    std::size_t pieces = device::get().pieces();
    CHECK(cudaFreeAsync(brief, first) == cudaSuccess);
    CHECK(device::get().pieces() == pieces);
    CHECK(cudaDeviceSynchronize() == cudaSuccess);
    CHECK(device::get().pieces() == pieces - 1);

    // A fault is thrown where the work is waited for, and ends the stream's work.
    launch(barrier_in_branch, 1, 2, 0, first, 0);
    launch(add_one, 1, 2, 0, first, p.data());
    CHECK_THROWS_AS(cudaStreamSynchronize(first), emulation::fault);
    CHECK(cudaStreamSynchronize(first) == cudaSuccess);
    CHECK(p.values()[0] == 8);

    cudaFreeHost(pinned);
    cudaEventDestroy(event);
    cudaStreamDestroy(second);
    cudaStreamDestroy(first);
}

TEST_CASE("threads of the host launch one after the other") {
    buffer<float> p(std::vector<float>(4 * 256)), q(std::vector<float>(4 * 256));
    auto work = [](float* to) {
        for (int i = 0; i < 20; ++i) launch(waits_and_adds, 4, 256, 0, nullptr, to, 5);
    };
    std::thread other(work, p.data());
    work(q.data());
    other.join();
    CHECK(p.values() == std::vector<float>(4 * 256, 100.0f));
    CHECK(q.values() == std::vector<float>(4 * 256, 100.0f));
}

}  // namespace
