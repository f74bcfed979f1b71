// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <utility>

#include "device.hpp"
#include "graphs.hpp"
#include "runtime.hpp"
#include "work.hpp"

// Streams, events, attributes of kernels, and captures: what a captured stream would have done becomes a graph.

inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
    return emulation::detail::on_device([&](auto& d) {
        *stream = new CUstream_st;
        (*stream)->waits_for_default_stream = flags != cudaStreamNonBlocking;
        emulation::detail::stream_list::get().add(*stream);
        d.made_handle();
        return cudaSuccess;
    });
}
inline cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    return emulation::detail::on_device([&](auto& d) {
        if (!stream) return cudaErrorInvalidResourceHandle;
        emulation::detail::stream_list::get().remove(stream);
        if (stream->capturing) --d.captures;
        delete stream->capturing;
        delete stream;
        d.freed_handle();
        return cudaSuccess;
    });
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    return emulation::detail::on_device([&](auto&) {
        if (stream && stream->capturing) {
            stream->capture_is_broken = true;
            return cudaErrorStreamCaptureUnsupported;
        }
        if (stream) {
            emulation::detail::stream_list::get().finish(stream);
        } else {
            emulation::detail::stream_list::get().finish_all(false);
        }
        return cudaSuccess;
    });
}

inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
    return emulation::detail::on_device([&](auto& d) {
        *event = new CUevent_st;
        (*event)->timed = (flags & cudaEventDisableTiming) == 0;
        d.made_handle();
        return cudaSuccess;
    });
}
inline cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }
inline cudaError_t cudaEventDestroy(cudaEvent_t event) {
    return emulation::detail::on_device([&](auto& d) {
        if (!event) return cudaErrorInvalidResourceHandle;
        delete event;
        d.freed_handle();
        return cudaSuccess;
    });
}
/// Events do not become part of a graph.
inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream = nullptr) {
    return emulation::detail::on_device([&](auto&) {
        if (!event) return cudaErrorInvalidResourceHandle;
        if (stream && stream->capturing) return cudaErrorNotSupported;
        event->now = std::make_shared<CUevent_st::state>();
        emulation::detail::enqueue(stream, [now = event->now] {
            now->reached = std::chrono::steady_clock::now();
            now->was_reached = true;
        });
        event->stream = stream;
        event->position = stream ? emulation::detail::stream_list::get().given(stream) : 0;
        return cudaSuccess;
    });
}
inline cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    return emulation::detail::on_device([&](auto&) {
        if (!event) return cudaErrorInvalidResourceHandle;
        if (event->stream) emulation::detail::stream_list::get().finish(event->stream, event->position);
        return cudaSuccess;
    });
}
inline cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned = 0) {
    return emulation::detail::on_device([&](auto&) {
        if (!event) return cudaErrorInvalidResourceHandle;
        if (stream && stream->capturing) return cudaErrorNotSupported;
        if (!event->stream) return cudaSuccess;
        return emulation::detail::enqueue(
            stream, [other = event->stream, position = event->position] { emulation::detail::stream_list::get().finish(other, position); });
    });
}
inline cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
    return emulation::detail::on_device([&](auto&) {
        if (!begin || !end || !begin->timed || !end->timed || !begin->now->was_reached || !end->now->was_reached)
            return cudaErrorInvalidResourceHandle;
        *milliseconds = std::chrono::duration<float, std::milli>(end->now->reached - begin->now->reached).count();
        return cudaSuccess;
    });
}

inline cudaError_t cudaFuncSetAttribute(void const* kernel, cudaFuncAttribute attribute, int value) {
    return emulation::detail::on_device([&](auto& d) {
        if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return value >= -1 && value <= 100 ? cudaSuccess : cudaErrorInvalidValue;
        if (value < 0 || static_cast<std::size_t>(value) > d.properties.sharedMemPerBlockOptin) return cudaErrorInvalidValue;
        d.set_shared_limit(kernel, static_cast<std::size_t>(value));
        return cudaSuccess;
    });
}
template <class... Parameters>
cudaError_t cudaFuncSetAttribute(void (*kernel)(Parameters...), cudaFuncAttribute attribute, int value) {
    return cudaFuncSetAttribute(reinterpret_cast<void const*>(kernel), attribute, value);
}

inline cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
    return emulation::detail::on_device([&](auto& d) {
        if (!stream) return cudaErrorStreamCaptureUnsupported;  // the default stream cannot be captured
        if (stream->capturing) return cudaErrorInvalidValue;
        stream->capturing = new CUgraph_st;
        stream->capture_is_broken = false;
        ++d.captures;
        return cudaSuccess;
    });
}
inline cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
    return emulation::detail::on_device([&](auto& d) {
        *graph = nullptr;
        if (!stream || !stream->capturing) return cudaErrorInvalidValue;
        std::unique_ptr<CUgraph_st> captured(std::exchange(stream->capturing, nullptr));
        --d.captures;
        if (stream->capture_is_broken) return cudaErrorStreamCaptureUnsupported;
        *graph = emulation::detail::graph_list::get().add(captured.release());
        d.made_handle();
        return cudaSuccess;
    });
}
inline cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
    return emulation::detail::on_device([&](auto&) {
        bool capturing = stream && stream->capturing;
        *status = !capturing                  ? cudaStreamCaptureStatusNone
                  : stream->capture_is_broken ? cudaStreamCaptureStatusInvalidated
                                              : cudaStreamCaptureStatusActive;
        return cudaSuccess;
    });
}
