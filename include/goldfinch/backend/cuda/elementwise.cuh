// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include <goldfinch/backend/cuda/device.cuh>
#include <goldfinch/backend/cuda/kernels.hpp>

// Work on single elements: a thread a channel of a row.

namespace goldfinch::detail {

namespace device {

__device__ inline float sigmoid(float x) { return 1 / (1 + expf(-x)); }

/// What each kernel does to an element x, where y is the other argument's.
struct add {
    __device__ static void apply(float y, float& x) { x += y; }
};
struct relu_squared {
    __device__ static void apply(float, float& x) {
        float const positive = x > 0 ? x : 0;
        x = positive * positive;
    }
};
struct sigmoid_gate {
    __device__ static void apply(float y, float& x) { x *= sigmoid(y); }
};
struct silu_gate {
    __device__ static void apply(float y, float& x) { x *= y * sigmoid(y); }
};

template <class F, bool has_other>
__global__ void elementwise_kernel(cuda_rows<float const> y, cuda_rows<float> x) {
    unsigned const c = blockIdx.x * blockDim.x + threadIdx.x, t = blockIdx.y;
    if (c >= x.width) return;
    F::apply(has_other ? y[t][c] : 0.0f, x[t][c]);
}

/// w = exp(-exp(w)), and k *= 1 - w where there is a k.
template <class OnDemand>
__global__ void decay_kernel(cuda_rows<float> w, cuda_rows<float> k) {
    unsigned const c = blockIdx.x * blockDim.x + threadIdx.x, t = blockIdx.y;
    if (c >= w.width) return;
    float const negative = -expf(w[t][c]);
    w[t][c] = expf(negative);
    if (k.data != nullptr) k[t][c] *= -expm1f(negative);
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
__global__ void embed_kernel(T const* table, Id const* ids, cuda_rows<float> y) {
    unsigned const c = blockIdx.x * blockDim.x + threadIdx.x, t = blockIdx.y;
    if (c < y.width) y[t][c] = static_cast<float>(table[std::size_t{ids[t]} * y.width + c]);
}

/// A grid with a thread a channel of each row.
template <class... Parameters, class... Arguments>
void launch_by_element(cuda_executor const& at, void (*kernel)(Parameters...), std::size_t rows, std::size_t width, Arguments const&... arguments) {
    unsigned const threads = threads_for(width);
    launch(at, kernel, dim3(divide_up(width, threads), static_cast<unsigned>(rows)), dim3(threads), 0, arguments...);
}

}  // namespace device

template <class OnDemand>
void cuda_kernels<OnDemand>::add(cuda_executor const& at, cuda_rows<float const> x, cuda_rows<float> y) {
    device::launch_by_element(at, device::elementwise_kernel<device::add, true>, y.size, y.width, x, y);
}
template <class OnDemand>
void cuda_kernels<OnDemand>::relu_squared(cuda_executor const& at, cuda_rows<float> x) {
    device::launch_by_element(at, device::elementwise_kernel<device::relu_squared, false>, x.size, x.width, cuda_rows<float const>{}, x);
}
template <class OnDemand>
void cuda_kernels<OnDemand>::sigmoid_gate(cuda_executor const& at, cuda_rows<float const> gate, cuda_rows<float> x) {
    device::launch_by_element(at, device::elementwise_kernel<device::sigmoid_gate, true>, x.size, x.width, gate, x);
}
template <class OnDemand>
void cuda_kernels<OnDemand>::silu_gate(cuda_executor const& at, cuda_rows<float const> gate, cuda_rows<float> x) {
    device::launch_by_element(at, device::elementwise_kernel<device::silu_gate, true>, x.size, x.width, gate, x);
}
template <class OnDemand>
void cuda_kernels<OnDemand>::decay(cuda_executor const& at, cuda_rows<float> w, cuda_rows<float> k) {
    device::launch_by_element(at, device::decay_kernel<OnDemand>, w.size, w.width, w, k);
}
template <class OnDemand>
void cuda_kernels<OnDemand>::keep_last(cuda_executor const& at, cuda_rows<float const> x, cuda_sequences const& of) {
    device::launch_by_element(at, device::keep_last_kernel<OnDemand>, of.size, x.width, x, of);
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
    device::launch_by_element(at, device::embed_kernel<T, Id>, y.size, y.width, table, ids, y);
}

}  // namespace goldfinch::detail
