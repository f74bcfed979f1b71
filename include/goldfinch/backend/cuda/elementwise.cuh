// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include <goldfinch/backend/cuda/device.cuh>
#include <goldfinch/backend/cuda/kernels.hpp>
#include <goldfinch/backend/cuda/linear.cuh>
#include <goldfinch/backend/cuda/lora.cuh>
#include <goldfinch/backend/cuda/row_runs.cuh>
#include <goldfinch/backend/cuda/token_shift.cuh>

// Work on single elements: a thread a channel of a row.

namespace goldfinch::detail {

namespace device {

__device__ inline float sigmoid(float x) { return 1 / (1 + expf(-x)); }

enum class element_operation : unsigned { add, relu_squared, sigmoid_gate, silu_gate };
/// What is done to each element of x, with that of y; relu_squared has no y.
struct element_step {
    element_operation what = {};
    unsigned padding = 0;
    cuda_rows<float const> y = {};
    cuda_rows<float> x = {};

    __device__ void apply(unsigned t, unsigned c) const {
        float& to = x[t][c];
        float const from = y.data != nullptr ? y[t][c] : 0;
        if (what == element_operation::add)
            to += from;
        else if (what == element_operation::relu_squared)
            to = to > 0 ? to * to : 0;
        else if (what == element_operation::sigmoid_gate)
            to *= sigmoid(from);
        else
            to *= from * sigmoid(from);
    }
};
/// Some of these one after another, each element by one thread.
struct element_steps {
    static constexpr unsigned most = 4;
    unsigned size = 0, padding = 0;
    element_step each[most] = {};

    /// Whether rows that a thread reads, or writes, an element at a time may be used in the launch of the steps: they have as many rows and channels, and are
    /// the very rows that a step writes, or reads where these are written, or have no byte in common with them.
    template <class T>
    bool agrees(cuda_rows<T> const& other, bool is_written) const {
        auto const fits = [&](auto const& rows) { return rows.data == nullptr || same_rows(rows, other) || apart(rows, other); };
        bool ok = other.size == each[0].x.size && other.width == each[0].x.width;
        for (unsigned i = 0; i < size; ++i) ok = ok && fits(each[i].x) && (!is_written || fits(each[i].y));
        return ok;
    }
    bool takes(element_step const& step) const { return size < most && agrees(step.x, true) && (step.y.data == nullptr || agrees(step.y, false)); }
    __device__ void apply(unsigned t, unsigned c) const {
        for (unsigned i = 0; i < size; ++i) each[i].apply(t, c);
    }
};

template <class OnDemand>
__global__ void elementwise_kernel(__grid_constant__ element_steps const steps) {
    unsigned const c = blockIdx.x * blockDim.x + threadIdx.x, t = blockIdx.y;
    if (c < steps.each[0].x.width) steps.apply(t, c);
}

/// As decay().
template <class OnDemand>
__global__ void decay_kernel(cuda_rows<float> w, cuda_rows<float> k) {
    unsigned const c = blockIdx.x * blockDim.x + threadIdx.x, t = blockIdx.y;
    if (c < w.width) w[t][c] = decay(w[t][c], k.data != nullptr ? &k[t][c] : nullptr);
}

template <class OnDemand>
__global__ void keep_last_kernel(cuda_rows<float const> x, cuda_sequences of) {
    unsigned const c = blockIdx.x * blockDim.x + threadIdx.x;
    auto const& sequence = of.each[blockIdx.y];
    if (c < x.width) sequence.state[c] = x[sequence.end - 1][c];
}

/// Angles in double: those of far positions would lose their digits.
template <class OnDemand>
__global__ void rope_kernel(cuda_sequences of, unsigned head_size, double base, double rescale, cuda_rows<float> x) {
    unsigned const pair = blockIdx.x * blockDim.x + threadIdx.x;
    auto const& sequence = of.each[blockIdx.z];
    unsigned const t = sequence.first + blockIdx.y;
    if (pair >= x.width / 2 || t >= sequence.end) return;
    unsigned const i = pair % (head_size / 2);
    double const position = static_cast<double>(sequence.before + blockIdx.y);
    double const angle = position / rescale * pow(base, -2.0 * i / head_size);
    float const cosine = static_cast<float>(cos(angle)), sine = static_cast<float>(sin(angle));
    float* const p = x[t] + 2 * pair;
    float const a = p[0], b = p[1];
    p[0] = a * cosine - b * sine;
    p[1] = a * sine + b * cosine;
}

/// A warp a head of a row.
template <class OnDemand>
__global__ void inner_product_kernel(cuda_rows<float const> a, cuda_rows<float const> b, cuda_rows<float> y) {
    unsigned const lane = threadIdx.x, h = blockIdx.x, t = blockIdx.y, n = static_cast<unsigned>(a.width / y.width);
    float sum = 0;
    for (unsigned i = lane; i < n; i += warp) sum = fmaf(a[t][h * n + i], b[t][h * n + i], sum);
    sum = sum_of_lanes(sum);
    if (lane == 0) y[t][h] = sum;
}

template <class T, class Id>
struct embedded_rows {
    T const* table;
    row_runs<Id const*> ids;
};
template <class T, class Id>
__global__ void embed_kernel(__grid_constant__ embedded_rows<T, Id> const rows) {
    cuda_rows<float> const y = rows.ids.y;
    unsigned const t = blockIdx.x, c = blockIdx.y * blockDim.x + threadIdx.x;
    unsigned row = t;
    Id const* const ids = rows.ids.run_of(row);
    if (c < y.width) y[t][c] = static_cast<float>(rows.table[std::size_t{ids[row]} * y.width + c]);
}

/// A grid with a thread a channel of each row.
template <class... Parameters, class... Arguments>
void launch_by_element(cuda_executor const& at, void (*kernel)(Parameters...), std::size_t rows, std::size_t width, Arguments const&... arguments) {
    unsigned const threads = threads_for(width);
    launch(at, kernel, dim3(divide_up(width, threads), static_cast<unsigned>(rows)), dim3(threads), 0, arguments...);
}

/// Joins the launch before where that is of steps on as many rows.
inline void launch_step(cuda_executor const& at, element_step const& step) {
    cuda_recording& recorded = at.recorder->recorded();
    auto before = recorded.argument<element_steps>(reinterpret_cast<void const*>(elementwise_kernel<void>));
    if (before && before->takes(step)) {
        before->each[before->size++] = step;
        return recorded.change_argument(*before);
    }
    element_steps alone;
    alone.each[alone.size++] = step;
    launch_by_element(at, elementwise_kernel<void>, step.x.size, step.x.width, alone);
}

}  // namespace device

template <class OnDemand>
void cuda_kernels<OnDemand>::add(cuda_executor const& at, cuda_rows<float const> x, cuda_rows<float> y) {
    device::launch_step(at, {device::element_operation::add, 0, x, y});
}
template <class OnDemand>
void cuda_kernels<OnDemand>::relu_squared(cuda_executor const& at, cuda_rows<float> x) {
    cuda_recording& recorded = at.recorder->recorded();
    if (auto before = recorded.header<device::product_outputs>())
        if (unsigned const last = before->size - 1; same_rows(before->y[last], x) && before->relu_squared[last] == 0) {
            before->relu_squared[last] = 1;
            return recorded.change_argument(*before);
        }
    device::launch_step(at, {device::element_operation::relu_squared, 0, {}, x});
}
template <class OnDemand>
void cuda_kernels<OnDemand>::sigmoid_gate(cuda_executor const& at, cuda_rows<float const> gate, cuda_rows<float> x) {
    device::launch_step(at, {device::element_operation::sigmoid_gate, 0, gate, x});
}
template <class OnDemand>
void cuda_kernels<OnDemand>::silu_gate(cuda_executor const& at, cuda_rows<float const> gate, cuda_rows<float> x) {
    device::launch_step(at, {device::element_operation::silu_gate, 0, gate, x});
}
template <class OnDemand>
void cuda_kernels<OnDemand>::decay(cuda_executor const& at, cuda_rows<float> w, cuda_rows<float> k) {
    if (!device::join_decay(at, w, k)) device::launch_by_element(at, device::decay_kernel<OnDemand>, w.size, w.width, w, k);
}
template <class OnDemand>
void cuda_kernels<OnDemand>::keep_last(cuda_executor const& at, cuda_rows<float const> x, cuda_sequences const& of) {
    if (!device::join_keep_last(at, x, of)) device::launch_by_element(at, device::keep_last_kernel<OnDemand>, of.size, x.width, x, of);
}
template <class OnDemand>
void cuda_kernels<OnDemand>::rope(cuda_executor const& at, cuda_sequences const& of, std::size_t head_size, double base, double rescale, cuda_rows<float> x) {
    unsigned const threads = device::threads_for(x.width / 2);
    unsigned longest = 0;
    for (unsigned i = 0; i < of.size; ++i) longest = std::max(longest, of.each[i].end - of.each[i].first);
    device::launch(at, device::rope_kernel<OnDemand>, dim3(device::divide_up(x.width / 2, threads), longest, of.size), dim3(threads), 0, of,
                   static_cast<unsigned>(head_size), base, rescale, x);
}
template <class OnDemand>
void cuda_kernels<OnDemand>::inner_product(cuda_executor const& at, cuda_rows<float const> a, cuda_rows<float const> b, cuda_rows<float> y) {
    device::launch(at, device::inner_product_kernel<OnDemand>, dim3(static_cast<unsigned>(y.width), static_cast<unsigned>(y.size)), dim3(device::warp), 0, a, b, y);
}

template <class T>
template <class Id>
void cuda_weight_kernels<T>::embed(cuda_executor const& at, T const* table, Id const* ids, cuda_rows<float> y) {
    cuda_recording& recorded = at.recorder->recorded();
    auto before = recorded.argument<device::embedded_rows<T, Id>>(reinterpret_cast<void const*>(device::embed_kernel<T, Id>));
    if (before && before->table == table && before->ids.takes(y) && apart(cuda_rows<Id const>{ids, 1, y.size, y.size}, before->ids.y)) {
        before->ids.add(ids, y);
        recorded.change_argument(*before);
        return recorded.widen_grid(static_cast<unsigned>(y.size), 1);
    }
    device::embedded_rows<T, Id> rows{table, {}};
    rows.ids.add(ids, y);
    unsigned const threads = device::threads_for(y.width);
    device::launch(at, device::embed_kernel<T, Id>, dim3(static_cast<unsigned>(y.size), device::divide_up(y.width, threads)), dim3(threads), 0, rows);
}

}  // namespace goldfinch::detail
