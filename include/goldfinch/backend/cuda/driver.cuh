// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include <goldfinch/backend/cuda/device.cuh>
#include <goldfinch/backend/cuda/driver.hpp>
#include <goldfinch/backend/cuda/recorder.hpp>

// The calls of the CUDA runtime behind driver.hpp.

namespace goldfinch::detail {

namespace device {

/// Does a call in the thread's stream, or without one waits until it is done.
template <class Call>
void in_stream(char const* name, Call const& call) {
    cuda_recorder* const recorder = cuda_driver<>::recorder();
    if (recorder != nullptr) recorder->flush();
    cudaStream_t const stream = recorder != nullptr ? as_stream(recorder->stream) : nullptr;
    check(call(stream), name);
    if (stream == nullptr) check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
}

/// A thread a Unit of a row.
template <class Unit>
__global__ void copy_rows_kernel(std::byte* to, std::size_t to_pitch, std::byte const* from, std::size_t from_pitch, std::size_t units) {
    std::size_t const i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x, row = blockIdx.y;
    if (i < units) reinterpret_cast<Unit*>(to + row * to_pitch)[i] = from != nullptr ? reinterpret_cast<Unit const*>(from + row * from_pitch)[i] : Unit{};
}

/// Records a copy of rows, or zeros where `from` is null; says whether it did.
inline bool record_rows(void* to, std::size_t to_pitch, void const* from, std::size_t from_pitch, std::size_t row_bytes, std::size_t rows) {
    cuda_recorder* const recorder = cuda_driver<>::recorder();
    if (recorder == nullptr || !recorder->recording() || rows > 65535) return false;
    auto const copy = [&]<class Unit>(Unit) {
        std::size_t const units = row_bytes / sizeof(Unit);
        unsigned const threads = threads_for(units);
        dim3 const grid(divide_up(units, threads), static_cast<unsigned>(rows));
        launch(*recorder, copy_rows_kernel<Unit>, grid, dim3(threads), 0, static_cast<std::byte*>(to), to_pitch, static_cast<std::byte const*>(from), from_pitch, units);
    };
    std::size_t const all = reinterpret_cast<std::uintptr_t>(to) | reinterpret_cast<std::uintptr_t>(from) | row_bytes | (rows > 1 ? to_pitch | from_pitch : 0);
    if (all % sizeof(unsigned) == 0)
        copy(0u);
    else
        copy(static_cast<unsigned char>(0));
    return true;
}

inline cudaKernelNodeParams node_parameters(cuda_launch const& what) {
    cudaKernelNodeParams p{};
    p.func = const_cast<void*>(what.kernel);
    p.gridDim = dim3(what.grid.x, what.grid.y, what.grid.z);
    p.blockDim = dim3(what.block.x, what.block.y, what.block.z);
    p.sharedMemBytes = static_cast<unsigned>(what.shared);
    p.kernelParams = what.arguments;
    return p;
}
/// The node before, for CUDA: an array of one or none.
struct dependency {
    cudaGraphNode_t node;
    explicit dependency(void* after) : node(static_cast<cudaGraphNode_t>(after)) {}
    std::size_t size() const { return node != nullptr ? 1 : 0; }
};

}  // namespace device

template <class OnDemand>
cuda_recorder*& cuda_driver<OnDemand>::recorder() {
    thread_local cuda_recorder* recorder = nullptr;
    return recorder;
}

template <class OnDemand>
void* cuda_driver<OnDemand>::allocate(std::size_t bytes) {
    void* p = nullptr;
    if (!try_allocate(p, bytes)) device::check(cudaErrorMemoryAllocation, "cudaMalloc");
    return p;
}
template <class OnDemand>
bool cuda_driver<OnDemand>::try_allocate(void*& p, std::size_t bytes) {
    cudaError_t error = cudaMalloc(&p, bytes);
    if (error == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        if (recorder() == nullptr || !recorder()->free_held()) return false;
        error = cudaMalloc(&p, bytes);
        if (error == cudaErrorMemoryAllocation) return cudaGetLastError(), false;
    }
    device::check(error, "cudaMalloc");
    return true;
}
template <class OnDemand>
void cuda_driver<OnDemand>::free(void* p) noexcept {
    cuda_recorder::hold(std::shared_ptr<void>(p, [](void* memory) { cudaFree(memory); }));
}
template <class OnDemand>
void* cuda_driver<OnDemand>::allocate_pinned(std::size_t bytes) {
    void* p = nullptr;
    device::check(cudaMallocHost(&p, bytes), "cudaMallocHost");
    return p;
}
template <class OnDemand>
void cuda_driver<OnDemand>::free_pinned(void* p) noexcept {
    cudaFreeHost(p);
}

// Copies go by what addresses are: temporaries may be in pinned memory of the host.

template <class OnDemand>
void cuda_driver<OnDemand>::upload(void* to, void const* host, std::size_t bytes) {
    constexpr std::size_t most_staged = 4096;  // more of it would take too much pinned memory
    if (bytes == 0) return;
    if (recorder() != nullptr && recorder()->recording() && bytes <= most_staged) return copy(to, recorder()->stage(host, bytes), bytes);
    device::in_stream("cudaMemcpyAsync", [&](cudaStream_t stream) { return cudaMemcpyAsync(to, host, bytes, cudaMemcpyDefault, stream); });
}
template <class OnDemand>
void cuda_driver<OnDemand>::download(void const* from, void* host, std::size_t bytes) {
    if (bytes == 0) return;
    device::in_stream("cudaMemcpyAsync", [&](cudaStream_t stream) { return cudaMemcpyAsync(host, from, bytes, cudaMemcpyDefault, stream); });
    if (recorder() != nullptr) synchronize(recorder()->stream);
}
template <class OnDemand>
void cuda_driver<OnDemand>::copy(void* to, void const* from, std::size_t bytes) {
    if (bytes == 0 || device::record_rows(to, bytes, from, bytes, bytes, 1)) return;
    device::in_stream("cudaMemcpyAsync", [&](cudaStream_t stream) { return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream); });
}
template <class OnDemand>
void cuda_driver<OnDemand>::clear(void* to, std::size_t bytes) {
    if (bytes == 0 || device::record_rows(to, bytes, nullptr, 0, bytes, 1)) return;
    device::in_stream("cudaMemsetAsync", [&](cudaStream_t stream) { return cudaMemsetAsync(to, 0, bytes, stream); });
}
template <class OnDemand>
void cuda_driver<OnDemand>::clear_fresh(void* to, std::size_t bytes) {
    if (recorder() == nullptr) return clear(to, bytes);
    device::check(cudaMemsetAsync(to, 0, bytes, device::as_stream(recorder()->stream)), "cudaMemsetAsync");
}
template <class OnDemand>
void cuda_driver<OnDemand>::copy_rows(void* to, std::size_t to_pitch, void const* from, std::size_t from_pitch, std::size_t row_bytes, std::size_t rows) {
    if (rows == 0) return;
    if (to_pitch == row_bytes && from_pitch == row_bytes) return copy(to, from, rows * row_bytes);
    if (device::record_rows(to, to_pitch, from, from_pitch, row_bytes, rows)) return;
    device::in_stream("cudaMemcpy2DAsync", [&](cudaStream_t stream) {
        return cudaMemcpy2DAsync(to, to_pitch, from, from_pitch, row_bytes, rows, cudaMemcpyDefault, stream);
    });
}
template <class OnDemand>
void cuda_driver<OnDemand>::clear_rows(void* to, std::size_t pitch, std::size_t row_bytes, std::size_t rows) {
    if (rows == 0) return;
    if (pitch == row_bytes) return clear(to, rows * row_bytes);
    if (device::record_rows(to, pitch, nullptr, 0, row_bytes, rows)) return;
    for (std::size_t i = 0; i < rows; ++i) clear(static_cast<std::byte*>(to) + i * pitch, row_bytes);
}

template <class OnDemand>
void cuda_driver<OnDemand>::launch(void* stream, cuda_launch const& what) {
    cudaKernelNodeParams const p = device::node_parameters(what);
    device::check(cudaLaunchKernel(p.func, p.gridDim, p.blockDim, p.kernelParams, p.sharedMemBytes, device::as_stream(stream)), "cudaLaunchKernel");
}
template <class OnDemand>
void cuda_driver<OnDemand>::transfer(void* stream, cuda_transfer const& what) {
    device::check(cudaMemcpyAsync(what.to, what.pinned, what.bytes, cudaMemcpyHostToDevice, device::as_stream(stream)), "cudaMemcpyAsync");
}

template <class OnDemand>
void* cuda_driver<OnDemand>::make_graph() {
    cudaGraph_t graph = nullptr;
    device::check(cudaGraphCreate(&graph, 0), "cudaGraphCreate");
    return graph;
}
template <class OnDemand>
void* cuda_driver<OnDemand>::add_node(void* graph, void* after, cuda_launch const& what) {
    device::dependency const before(after);
    cudaKernelNodeParams const p = device::node_parameters(what);
    cudaGraphNode_t node = nullptr;
    device::check(cudaGraphAddKernelNode(&node, static_cast<cudaGraph_t>(graph), &before.node, before.size(), &p), "cudaGraphAddKernelNode");
    return node;
}
template <class OnDemand>
void* cuda_driver<OnDemand>::add_node(void* graph, void* after, cuda_transfer const& what) {
    device::dependency const before(after);
    cudaGraphNode_t node = nullptr;
    cudaError_t const error = cudaGraphAddMemcpyNode1D(&node, static_cast<cudaGraph_t>(graph), &before.node, before.size(), what.to, what.pinned, what.bytes,
                                                       cudaMemcpyHostToDevice);
    device::check(error, "cudaGraphAddMemcpyNode1D");
    return node;
}
template <class OnDemand>
void* cuda_driver<OnDemand>::instantiate(void* graph) {
    cudaGraphExec_t executable = nullptr;
    device::check(cudaGraphInstantiate(&executable, static_cast<cudaGraph_t>(graph), 0), "cudaGraphInstantiate");
    return executable;
}
template <class OnDemand>
void cuda_driver<OnDemand>::set_node(void* executable, void* node, cuda_launch const& what) {
    cudaKernelNodeParams const p = device::node_parameters(what);
    device::check(cudaGraphExecKernelNodeSetParams(static_cast<cudaGraphExec_t>(executable), static_cast<cudaGraphNode_t>(node), &p),
                  "cudaGraphExecKernelNodeSetParams");
}
template <class OnDemand>
void cuda_driver<OnDemand>::set_node(void* executable, void* node, cuda_transfer const& what) {
    cudaError_t const error = cudaGraphExecMemcpyNodeSetParams1D(static_cast<cudaGraphExec_t>(executable), static_cast<cudaGraphNode_t>(node), what.to, what.pinned,
                                                                 what.bytes, cudaMemcpyHostToDevice);
    device::check(error, "cudaGraphExecMemcpyNodeSetParams1D");
}
template <class OnDemand>
void cuda_driver<OnDemand>::launch_graph(void* executable, void* stream) {
    device::check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(executable), device::as_stream(stream)), "cudaGraphLaunch");
}
template <class OnDemand>
void cuda_driver<OnDemand>::free_graph(void* graph, void* executable) noexcept {
    if (executable != nullptr) cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(executable));
    cudaGraphDestroy(static_cast<cudaGraph_t>(graph));
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
    if (error != cudaSuccess) device::fail(error, "cudaGetDeviceCount", device);
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
std::size_t cuda_driver<OnDemand>::cache_bytes(int device) {
    int n = 0;
    device::check(cudaDeviceGetAttribute(&n, cudaDevAttrL2CacheSize, device), "cudaDeviceGetAttribute");
    return static_cast<std::size_t>(n);
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
void cuda_driver<OnDemand>::synchronize(void* stream) {
    device::check(cudaStreamSynchronize(device::as_stream(stream)), "cudaStreamSynchronize");
}
template <class OnDemand>
bool cuda_driver<OnDemand>::wait(void* stream) noexcept {
    return cudaStreamSynchronize(device::as_stream(stream)) == cudaSuccess;
}

// Whoever includes this has all of it, so that the program's other source files need not.
template struct cuda_driver<>;

}  // namespace goldfinch::detail
