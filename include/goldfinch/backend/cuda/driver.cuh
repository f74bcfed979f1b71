// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <goldfinch/backend/cuda/device.cuh>
#include <goldfinch/backend/cuda/driver.hpp>

// The calls of the CUDA runtime behind driver.hpp.

namespace goldfinch::detail {

namespace device {

/// Does a call in the thread's stream, or without one waits until it is done.
template <class Call>
void in_stream(char const* name, Call const& call) {
    cudaStream_t const stream = as_stream(cuda_driver<>::current_stream());
    check(call(stream), name);
    if (stream == nullptr) check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
}

}  // namespace device

template <class OnDemand>
void*& cuda_driver<OnDemand>::current_stream() {
    thread_local void* stream = nullptr;
    return stream;
}

template <class OnDemand>
void* cuda_driver<OnDemand>::allocate(std::size_t bytes) {
    void* p = nullptr;
    device::check(cudaMalloc(&p, bytes), "cudaMalloc");
    return p;
}
template <class OnDemand>
void cuda_driver<OnDemand>::free(void* p) noexcept {
    cudaFree(p);
}
template <class OnDemand>
void cuda_driver<OnDemand>::upload(void* to, void const* host, std::size_t bytes) {
    if (bytes > 0) device::in_stream("cudaMemcpyAsync", [&](cudaStream_t stream) { return cudaMemcpyAsync(to, host, bytes, cudaMemcpyHostToDevice, stream); });
}
template <class OnDemand>
void cuda_driver<OnDemand>::download(void const* from, void* host, std::size_t bytes) {
    if (bytes == 0) return;
    cudaStream_t const stream = device::as_stream(current_stream());
    device::check(cudaMemcpyAsync(host, from, bytes, cudaMemcpyDeviceToHost, stream), "cudaMemcpyAsync");
    device::check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
}
template <class OnDemand>
void cuda_driver<OnDemand>::copy(void* to, void const* from, std::size_t bytes) {
    if (bytes > 0) device::in_stream("cudaMemcpyAsync", [&](cudaStream_t stream) { return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream); });
}
template <class OnDemand>
void cuda_driver<OnDemand>::clear(void* to, std::size_t bytes) {
    if (bytes > 0) device::in_stream("cudaMemsetAsync", [&](cudaStream_t stream) { return cudaMemsetAsync(to, 0, bytes, stream); });
}
template <class OnDemand>
void cuda_driver<OnDemand>::copy_rows(void* to, std::size_t to_pitch, void const* from, std::size_t from_pitch, std::size_t row_bytes, std::size_t rows) {
    if (rows == 0) return;
    if (to_pitch == row_bytes && from_pitch == row_bytes) return copy(to, from, rows * row_bytes);
    device::in_stream("cudaMemcpy2DAsync", [&](cudaStream_t stream) {
        return cudaMemcpy2DAsync(to, to_pitch, from, from_pitch, row_bytes, rows, cudaMemcpyDeviceToDevice, stream);
    });
}
template <class OnDemand>
void cuda_driver<OnDemand>::clear_rows(void* to, std::size_t pitch, std::size_t row_bytes, std::size_t rows) {
    if (pitch == row_bytes) return clear(to, rows * row_bytes);
    for (std::size_t i = 0; i < rows; ++i) clear(static_cast<std::byte*>(to) + i * pitch, row_bytes);
}

template <class OnDemand>
int cuda_driver<OnDemand>::device() {
    int device = 0;
    cudaError_t const error = cudaGetDevice(&device);
    if (error != cudaSuccess) device::fail(error, "cudaGetDevice", -1);
    return device;
}
template <class OnDemand>
void cuda_driver<OnDemand>::set_device(int device) {
    cudaError_t const error = cudaSetDevice(device);
    if (error != cudaSuccess) device::fail(error, "cudaSetDevice", device);
}
template <class OnDemand>
void cuda_driver<OnDemand>::check_device(int device) {
    int count = 0;
    cudaError_t const error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess) device::fail(error, "cudaGetDeviceCount", -1);
    if (device < 0 || device >= count) throw cuda_error(message({"goldfinch: there is no device ", device, ": CUDA has ", count}));
    cuda_device_scope const at(device);
    void* const p = allocate(16);  // makes the context: what is wrong with the device shows here
    free(p);
}
template <class OnDemand>
int cuda_driver<OnDemand>::multiprocessors(int device) {
    int n = 0;
    device::check(cudaDeviceGetAttribute(&n, cudaDevAttrMultiProcessorCount, device), "cudaDeviceGetAttribute");
    return n;
}

template <class OnDemand>
void* cuda_driver<OnDemand>::make_stream() {
    cudaStream_t stream = nullptr;
    device::check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    return stream;
}
template <class OnDemand>
void cuda_driver<OnDemand>::free_stream(void* stream) noexcept {
    cudaStreamDestroy(device::as_stream(stream));
}
template <class OnDemand>
bool cuda_driver<OnDemand>::wait(void* stream) noexcept {
    return cudaStreamSynchronize(device::as_stream(stream)) == cudaSuccess;
}

// Whoever includes this has all of it, so that the program's other source files need not.
template struct cuda_driver<>;

}  // namespace goldfinch::detail
