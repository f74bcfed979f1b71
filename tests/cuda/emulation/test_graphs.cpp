// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cstddef>
#include <cuda/emulation.hpp>
#include <string>
#include <vector>

#include "faults.hpp"

// Graphs that are made node by node.

namespace {

using emulation::buffer;
using emulation::device;

__global__ void scale_and_add(float* p, float factor, float more) { p[threadIdx.x] = p[threadIdx.x] * factor + more; }
__global__ void add_to(float* p, float more) { p[threadIdx.x] += more; }
__global__ void unknown(float*) {}

/// A node's parameters; `arguments` are their addresses.
template <class Kernel>
cudaKernelNodeParams node(Kernel* kernel, unsigned threads, void** arguments) {
    return {reinterpret_cast<void*>(kernel), dim3(1), dim3(threads), 0, arguments, nullptr};
}

/// A graph of p = 2 p + 1, then p = 3 p, over two floats of the device, which pinned memory is copied to before.
struct some_graph {
    float* pinned = nullptr;
    buffer<float> p{2};
    cudaStream_t stream = nullptr;
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    cudaGraphNode_t copy = nullptr, first = nullptr, second = nullptr;

    explicit some_graph(bool in_order = true) {
        emulation::register_kernel(scale_and_add), emulation::register_kernel(add_to);
        CHECK(cudaMallocHost(&pinned, 8) == cudaSuccess);
        pinned[0] = 1, pinned[1] = 2;
        CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess);
        CHECK(cudaGraphCreate(&graph, 0) == cudaSuccess);
        CHECK(cudaGraphAddMemcpyNode1D(&copy, graph, nullptr, 0, p.data(), pinned, 8, cudaMemcpyHostToDevice) == cudaSuccess);
        CHECK(add(first, &copy, 2, 1) == cudaSuccess);
        CHECK(add(second, in_order ? &first : &copy, 3, 0) == cudaSuccess);
        CHECK(cudaGraphInstantiate(&executable, graph, 0) == cudaSuccess);
    }
    ~some_graph() {
        if (executable) cudaGraphExecDestroy(executable);
        if (graph) cudaGraphDestroy(graph);
        cudaStreamDestroy(stream);
        cudaFreeHost(pinned);
        cudaGetLastError();
    }

    cudaError_t add(cudaGraphNode_t& to, cudaGraphNode_t* after, float factor, float more) {
        float* data = p.data();
        void* arguments[] = {&data, &factor, &more};  // the graph has copies of what these point to
        auto const parameters = node(scale_and_add, 2, arguments);
        return cudaGraphAddKernelNode(&to, graph, after, 1, &parameters);
    }
    cudaError_t change(cudaGraphNode_t which, float factor, float more, unsigned threads = 2) {
        float* data = p.data();
        void* arguments[] = {&data, &factor, &more};
        auto const parameters = node(scale_and_add, threads, arguments);
        return cudaGraphExecKernelNodeSetParams(executable, which, &parameters);
    }
    std::vector<float> run() {
        CHECK(cudaGraphLaunch(executable, stream) == cudaSuccess);
        CHECK(cudaStreamSynchronize(stream) == cudaSuccess);
        return p.values();
    }
};

TEST_CASE("a graph does the work of its nodes, with the arguments that they have at its launch") {
    std::size_t const handles = device::get().handles();
    {
        some_graph g;
        std::size_t const launches = device::get().launches(), asked = device::get().graph_launches(), changed = device::get().changed_nodes();
        CHECK(g.run() == std::vector<float>{9, 15});
        CHECK(g.change(g.second, 10, 0) == cudaSuccess);
        g.pinned[0] = 3;
        CHECK(g.run() == std::vector<float>{70, 50});
        CHECK(g.change(g.first, 2, 1, 1) == cudaSuccess);
        CHECK(cudaGraphExecMemcpyNodeSetParams1D(g.executable, g.copy, g.p.data(), g.pinned, 4, cudaMemcpyHostToDevice) == cudaSuccess);
        CHECK(g.run() == std::vector<float>{70, 500});
        CHECK(device::get().launches() == launches + 6);
        CHECK(device::get().graph_launches() == asked + 3);
        CHECK(device::get().changed_nodes() == changed + 3);
    }
    CHECK(device::get().handles() == handles);
}

TEST_CASE("a deferred graph has the arguments of its launch, and reads pinned memory when its turn comes") {
    bool const before = device::get().deferred;
    device::get().deferred = true;
    {
        some_graph g;
        CHECK(cudaGraphLaunch(g.executable, g.stream) == cudaSuccess);
        CHECK(g.change(g.second, 10, 0) == cudaSuccess);
        g.pinned[1] = 5;
        CHECK(cudaStreamSynchronize(g.stream) == cudaSuccess);
        CHECK(g.p.values() == std::vector<float>{9, 33});
    }
    device::get().deferred = before;
}

TEST_CASE("nodes that a graph's dependencies leave unordered run in several orders") {
    auto run = [](bool in_order) { return emulation::difference_between_orders([=] { return some_graph(in_order).run(); }); };
    CHECK(run(true) == "");
    CHECK(run(false) != "");
}

TEST_CASE("what a graph may not be given is refused, or is a fault") {
    some_graph g;
    float* data = g.p.data();
    float one = 1;
    void* arguments[] = {&data, &one};
    auto other = node(add_to, 2, arguments);
    CHECK(contains(fault_of([&] { cudaGraphExecKernelNodeSetParams(g.executable, g.first, &other); }), "a node of"));
    CHECK(g.change(g.copy, 1, 1) == cudaErrorInvalidValue);
    CHECK(g.change(g.first, 1, 1, 2000) == cudaErrorInvalidConfiguration);
    CHECK(cudaGraphExecMemcpyNodeSetParams1D(g.executable, g.first, data, g.pinned, 8, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
    CHECK(cudaGraphExecMemcpyNodeSetParams1D(g.executable, g.copy, data, g.pinned, 8, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);
    float pageable[2] = {};
    CHECK(contains(fault_of([&] { cudaGraphExecMemcpyNodeSetParams1D(g.executable, g.copy, data, pageable, 8, cudaMemcpyHostToDevice); }), "not pinned"));

    auto const strange = node(unknown, 1, arguments);
    cudaGraphNode_t added = nullptr;
    CHECK(cudaGraphAddKernelNode(&added, g.graph, nullptr, 0, &strange) == cudaErrorInvalidDeviceFunction);
    CHECK(cudaLaunchKernel(reinterpret_cast<void const*>(unknown), 1, 1, arguments, 0, nullptr) == cudaErrorInvalidDeviceFunction);

    some_graph second;
    CHECK(contains(fault_of([&] { g.change(second.first, 1, 1); }), "a node of another graph"));
    CHECK(contains(fault_of([&] { cudaGraphAddKernelNode(&added, g.graph, &second.first, 1, &other); }), "a node of another graph"));
    cudaGraphExec_t const gone = second.executable;
    CHECK(cudaGraphExecDestroy(second.executable) == cudaSuccess);
    second.executable = nullptr;
    CHECK(contains(fault_of([&] { cudaGraphLaunch(gone, g.stream); }), "destroyed"));
    cudaGraph_t const graph = g.graph;
    CHECK(cudaGraphDestroy(g.graph) == cudaSuccess);
    g.graph = nullptr;
    CHECK(contains(fault_of([&] { g.change(g.first, 1, 1); }), "destroyed"));
    CHECK(contains(fault_of([&] { cudaGraphExec_t e = nullptr; cudaGraphInstantiate(&e, graph, 0); }), "destroyed"));
}

TEST_CASE("what a test can do to graphs: free what they copy, have no memory for them, leave nodes as they are") {
    some_graph g;
    float* brief = nullptr;
    CHECK(cudaMalloc(&brief, 8) == cudaSuccess);
    CHECK(cudaGraphExecMemcpyNodeSetParams1D(g.executable, g.copy, brief, g.pinned, 8, cudaMemcpyHostToDevice) == cudaSuccess);
    CHECK(cudaFree(brief) == cudaSuccess);
    CHECK(contains(fault_of([&] { cudaGraphLaunch(g.executable, g.stream), cudaStreamSynchronize(g.stream); }), "freed"));
    cudaGraphExec_t more = nullptr;
    device::get().has_memory_for_graphs = false;
    CHECK(cudaGraphInstantiate(&more, g.graph, 0) == cudaErrorMemoryAllocation);
    device::get().has_memory_for_graphs = true;
    CHECK(cudaGraphExecMemcpyNodeSetParams1D(g.executable, g.copy, g.p.data(), g.pinned, 8, cudaMemcpyHostToDevice) == cudaSuccess);
    device::get().changes_nodes = false;
    CHECK(g.change(g.second, 10, 0) == cudaSuccess);
    device::get().changes_nodes = true;
    CHECK(g.run() == std::vector<float>{9, 15});
}

}  // namespace
