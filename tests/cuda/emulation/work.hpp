// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "device.hpp"
#include "order.hpp"

// What streams have been asked to do, and when they do it.

struct CUgraph_st;
struct CUgraphNode_st {
    CUgraph_st const* graph = nullptr;
    std::vector<CUgraphNode_st const*> after;
    void const* kernel = nullptr;  // of a launch
    bool copies = false;
    std::function<void()> work;    // with copies of its arguments
};
struct CUgraph_st {
    std::vector<std::unique_ptr<CUgraphNode_st>> nodes;

    /// What a captured stream would have done next.
    void add(std::function<void()> work) {
        auto node = std::make_unique<CUgraphNode_st>();
        node->graph = this;
        if (!nodes.empty()) node->after.push_back(nodes.back().get());
        node->work = std::move(work);
        nodes.push_back(std::move(node));
    }
};
/// A graph as it was instantiated: nodes are found by their place.
struct CUgraphExec_st {
    struct node {
        CUgraphNode_st const* of;
        std::vector<std::size_t> after;
        void const* kernel;
        bool copies;
        std::function<void()> work;
    };
    CUgraph_st const* graph;
    std::vector<node> nodes;
};
struct CUstream_st {
    bool waits_for_default_stream = true;
    std::deque<std::function<void()>> waiting;
    std::size_t finished = 0;  // pieces of work
    CUgraph_st* capturing = nullptr;
    bool capture_is_broken = false;
};
struct CUevent_st {
    struct state {
        std::chrono::steady_clock::time_point reached{};
        bool was_reached = false;
    };
    std::shared_ptr<state> now = std::make_shared<state>();
    CUstream_st* stream = nullptr;  // whose work it is in
    std::size_t position = 0;       // the pieces of work up to it
    bool timed = true;
};

using cudaStream_t = CUstream_st*;
using cudaGraph_t = CUgraph_st*;
using cudaGraphNode_t = CUgraphNode_st*;
using cudaGraphExec_t = CUgraphExec_st*;
using cudaEvent_t = CUevent_st*;

namespace emulation::detail {

class stream_list {
public:
    static stream_list& get() {
        static stream_list& all = *new stream_list;
        return all;
    }

    void add(cudaStream_t s) {
        std::scoped_lock lock(mutex_);
        streams_.push_back(s);
    }
    void remove(cudaStream_t s) {
        finish(s);
        std::scoped_lock lock(mutex_);
        std::erase(streams_, s);
    }

    void push(cudaStream_t s, std::function<void()> work) {
        std::scoped_lock lock(mutex_);
        s->waiting.push_back(std::move(work));
    }

    /// Pieces of work that a stream has been given.
    std::size_t given(cudaStream_t s) {
        std::scoped_lock lock(mutex_);
        return s->finished + s->waiting.size();
    }

    /// Does the first pieces of a stream's work, if there still is such a stream. What is thrown ends all of its work.
    void finish(cudaStream_t s, std::size_t pieces = std::numeric_limits<std::size_t>::max()) {
        std::scoped_lock lock(mutex_);
        if (std::find(streams_.begin(), streams_.end(), s) == streams_.end()) return;
        while (s->finished < pieces && !s->waiting.empty()) {
            auto work = std::move(s->waiting.front());
            s->waiting.pop_front();
            ++s->finished;
            try {
                work();
            } catch (...) {
                s->finished += s->waiting.size();
                s->waiting.clear();
                throw;
            }
        }
    }

    /// Does all work, or that of the streams which the default stream waits for.
    void finish_all(bool also_independent = true) {
        std::scoped_lock lock(mutex_);
        auto all = streams_;
        if (order_in_use().threads == sequence::descending) std::reverse(all.begin(), all.end());
        for (cudaStream_t s : all) {
            if (also_independent || s->waits_for_default_stream) finish(s);
        }
    }

private:
    std::recursive_mutex mutex_;
    std::vector<cudaStream_t> streams_;
};

/// Work for a stream: now, or when it is waited for, or when the graph that is being captured is launched.
inline cudaError_t enqueue(cudaStream_t stream, std::function<void()> work) {
    if (!stream) {
        stream_list::get().finish_all(false);
        work();
    } else if (stream->capturing) {
        stream->capturing->add(std::move(work));
    } else if (device::get().deferred) {
        stream_list::get().push(stream, std::move(work));
    } else {
        work();
    }
    return cudaSuccess;
}

/// The call's outcome; without a device, every call's.
template <class Call>
cudaError_t on_device(Call call) {
    device& d = device::get();
    return device::record(d.count == 0 ? cudaErrorNoDevice : call(d));
}

/// A call that a capture forbids, whichever stream is captured.
template <class Call>
cudaError_t outside_of_captures(Call call) {
    return on_device([&](device& d) { return d.captures > 0 ? cudaErrorStreamCaptureUnsupported : call(d); });
}

/// A call that returns when all streams have done their work.
template <class Call>
cudaError_t after_all_work(Call call) {
    return outside_of_captures([&](device& d) {
        stream_list::get().finish_all();
        return call(d);
    });
}

}  // namespace emulation::detail
