// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "device.hpp"
#include "launch.hpp"
#include "names.hpp"
#include "order.hpp"
#include "runtime.hpp"
#include "thread.hpp"
#include "work.hpp"

// Graphs: nodes hold copies of what they were made with. A launch does the work of all nodes, in one of the orders that their dependencies allow.

struct cudaKernelNodeParams {
    void* func;
    dim3 gridDim;
    dim3 blockDim;
    unsigned sharedMemBytes;
    void** kernelParams;
    void** extra;
};

namespace emulation::detail {

/// The graphs and executable graphs that there are: any other is a fault.
class graph_list {
public:
    static graph_list& get() {
        static graph_list& all = *new graph_list;
        return all;
    }
    template <class Graph>
    Graph* add(Graph* graph) {
        std::scoped_lock lock(mutex_);
        live_.insert(graph);
        return graph;
    }
    void remove(void const* graph, char const* call) {
        require(graph, call);
        std::scoped_lock lock(mutex_);
        live_.erase(graph);
    }
    void require(void const* graph, char const* call) {
        std::scoped_lock lock(mutex_);
        if (!live_.contains(graph)) throw fault(std::string(call) + ": a graph that was destroyed, or never made");
    }
    /// Whether the node is of a graph that there is.
    void require_node(CUgraph_st const* graph, cudaGraphNode_t node, char const* call) {
        require(graph, call);
        auto& nodes = graph->nodes;
        bool const is_one = std::any_of(nodes.begin(), nodes.end(), [&](auto const& n) { return n.get() == node; });
        if (!is_one) throw fault(std::string(call) + ": a node of another graph");
    }

private:
    std::mutex mutex_;
    std::set<void const*> live_;
};

/// The work of a launch by a graph.
inline cudaError_t node_work(cudaKernelNodeParams const* p, std::function<void()>& work) {
    machine::get().require_host();
    auto read = kernel_list::get().find(p->func);
    if (!read) return cudaErrorInvalidDeviceFunction;
    if (p->extra || !p->kernelParams) return cudaErrorInvalidValue;
    cudaError_t refused = check_launch(p->func, p->gridDim, p->blockDim, p->sharedMemBytes);
    if (refused == cudaSuccess) work = work_of(read(p->func, p->kernelParams), p->gridDim, p->blockDim, p->sharedMemBytes);
    return refused;
}
/// The same of a copy, whose memory must still be there when it happens.
inline cudaError_t node_work(void* to, void const* from, std::size_t size, cudaMemcpyKind kind, std::function<void()>& work) {
    if (size == 0) return cudaErrorInvalidValue;
    cudaError_t refused = check_copy(to, from, size, kind);
    auto pinned = [](void const* p) { return device::get().owns(p) || device::get().pinned(p); };
    if (refused == cudaSuccess && !(pinned(to) && pinned(from))) throw fault("a graph copies host memory that is not pinned");
    work = [=] {
        if (check_copy(to, from, size, kind) != cudaSuccess || !pinned(to) || !pinned(from)) throw fault("a graph copies memory that was freed");
        copy_rows(to, size, from, size, size, 1);
    };
    return refused;
}

inline cudaError_t add_node(cudaGraphNode_t* node, cudaGraph_t graph, cudaGraphNode_t const* after, std::size_t n, void const* kernel,
                            std::function<void()> work, char const* call) {
    for (std::size_t i = 0; i < n; ++i) graph_list::get().require_node(graph, after[i], call);
    auto made = std::make_unique<CUgraphNode_st>();
    made->graph = graph;
    made->after.assign(after, after + n);
    made->kernel = kernel;
    made->copies = kernel == nullptr;
    made->work = std::move(work);
    *node = made.get();
    graph->nodes.push_back(std::move(made));
    return cudaSuccess;
}

/// A node as an executable graph has it.
inline CUgraphExec_st::node& node_of(cudaGraphExec_t executable, cudaGraphNode_t node, char const* call) {
    graph_list::get().require(executable, call);
    graph_list::get().require_node(executable->graph, node, call);
    return *std::find_if(executable->nodes.begin(), executable->nodes.end(), [&](auto const& n) { return n.of == node; });
}

/// All nodes, each after those that it depends on, else in the order in use.
inline std::vector<std::size_t> arranged_nodes(CUgraphExec_st const& executable) {
    std::vector<std::size_t> result;
    std::vector<bool> is_done(executable.nodes.size());
    auto const places = arranged(executable.nodes.size());
    while (result.size() < executable.nodes.size()) {
        auto next = std::find_if(places.begin(), places.end(), [&](unsigned i) {
            auto const& after = executable.nodes[i].after;
            return !is_done[i] && std::all_of(after.begin(), after.end(), [&](std::size_t k) { return is_done[k]; });
        });
        is_done[*next] = true;
        result.push_back(*next);
    }
    return result;
}

template <class Graph>
cudaError_t destroy(Graph* graph, char const* call) {
    return on_device([&](auto& d) {
        graph_list::get().remove(graph, call);
        delete graph;
        d.freed_handle();
        return cudaSuccess;
    });
}

}  // namespace emulation::detail

inline cudaError_t cudaGraphCreate(cudaGraph_t* graph, unsigned flags) {
    return emulation::detail::on_device([&](auto& d) {
        if (flags != 0) return cudaErrorInvalidValue;
        *graph = emulation::detail::graph_list::get().add(new CUgraph_st);
        d.made_handle();
        return cudaSuccess;
    });
}
inline cudaError_t cudaGraphAddKernelNode(cudaGraphNode_t* node, cudaGraph_t graph, cudaGraphNode_t const* after, std::size_t n,
                                          cudaKernelNodeParams const* p) {
    return emulation::detail::on_device([&](auto&) {
        emulation::detail::graph_list::get().require(graph, "cudaGraphAddKernelNode");
        std::function<void()> work;
        cudaError_t refused = emulation::detail::node_work(p, work);
        return refused != cudaSuccess ? refused : emulation::detail::add_node(node, graph, after, n, p->func, std::move(work), "cudaGraphAddKernelNode");
    });
}
inline cudaError_t cudaGraphAddMemcpyNode1D(cudaGraphNode_t* node, cudaGraph_t graph, cudaGraphNode_t const* after, std::size_t n, void* to, void const* from,
                                            std::size_t size, cudaMemcpyKind kind) {
    return emulation::detail::on_device([&](auto&) {
        emulation::detail::graph_list::get().require(graph, "cudaGraphAddMemcpyNode1D");
        std::function<void()> work;
        cudaError_t refused = emulation::detail::node_work(to, from, size, kind, work);
        return refused != cudaSuccess ? refused : emulation::detail::add_node(node, graph, after, n, nullptr, std::move(work), "cudaGraphAddMemcpyNode1D");
    });
}
inline cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long = 0) {
    return emulation::detail::on_device([&](auto& d) {
        emulation::detail::graph_list::get().require(graph, "cudaGraphInstantiate");
        if (!d.has_memory_for_graphs) return cudaErrorMemoryAllocation;
        auto made = std::make_unique<CUgraphExec_st>();
        made->graph = graph;
        for (auto const& node : graph->nodes) {
            std::vector<std::size_t> after;
            for (std::size_t i = 0; i < graph->nodes.size(); ++i) {
                if (std::find(node->after.begin(), node->after.end(), graph->nodes[i].get()) != node->after.end()) after.push_back(i);
            }
            made->nodes.push_back({node.get(), std::move(after), node->kernel, node->copies, node->work});
        }
        *executable = emulation::detail::graph_list::get().add(made.release());
        d.made_handle();
        return cudaSuccess;
    });
}
/// CUDA would let a node become a launch of another kernel; here that is a fault.
inline cudaError_t cudaGraphExecKernelNodeSetParams(cudaGraphExec_t executable, cudaGraphNode_t node, cudaKernelNodeParams const* p) {
    return emulation::detail::on_device([&](auto& d) {
        auto& changed = emulation::detail::node_of(executable, node, "cudaGraphExecKernelNodeSetParams");
        if (!changed.kernel) return cudaErrorInvalidValue;
        if (changed.kernel != p->func)
            throw emulation::fault("cudaGraphExecKernelNodeSetParams: a node of " + emulation::detail::name_of(changed.kernel) + " gets arguments of " +
                                   emulation::detail::name_of(p->func));
        d.node_changed();
        std::function<void()> work;
        cudaError_t refused = emulation::detail::node_work(p, work);
        if (refused == cudaSuccess && d.changes_nodes) changed.work = std::move(work);
        return refused;
    });
}
inline cudaError_t cudaGraphExecMemcpyNodeSetParams1D(cudaGraphExec_t executable, cudaGraphNode_t node, void* to, void const* from, std::size_t size,
                                                      cudaMemcpyKind kind) {
    return emulation::detail::on_device([&](auto& d) {
        auto& changed = emulation::detail::node_of(executable, node, "cudaGraphExecMemcpyNodeSetParams1D");
        if (!changed.copies) return cudaErrorInvalidValue;
        d.node_changed();
        std::function<void()> work;
        cudaError_t refused = emulation::detail::node_work(to, from, size, kind, work);
        if (refused == cudaSuccess) changed.work = std::move(work);
        return refused;
    });
}
/// What the nodes are now: later changes are those of later launches.
inline cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
    return emulation::detail::on_device([&](auto& d) {
        emulation::detail::graph_list::get().require(executable, "cudaGraphLaunch");
        d.graph_launched();
        for (std::size_t i : emulation::detail::arranged_nodes(*executable)) emulation::detail::enqueue(stream, executable->nodes[i].work);
        return cudaSuccess;
    });
}
inline cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return emulation::detail::destroy(graph, "cudaGraphDestroy"); }
inline cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) { return emulation::detail::destroy(executable, "cudaGraphExecDestroy"); }
