// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <goldfinch/backend/cuda/device.cuh>
#include <goldfinch/backend/cuda/kernels.hpp>
#include <goldfinch/backend/cuda/weights.cuh>
#include <goldfinch/backend/cuda/wkv6_chunks.cuh>

namespace goldfinch::detail {

namespace device {

/// Lanes that share a column of a head's state.
template <unsigned N>
inline constexpr unsigned wkv_lanes = N % 4 == 0 ? 4 : N % 2 == 0 ? 2 : 1;
template <unsigned N>
inline constexpr unsigned wkv_threads = threads_for(N* wkv_lanes<N>, 1024);
inline constexpr unsigned wkv_tokens = 16;  ///< tokens that are in shared memory together

/// A block a head of a sequence. Each value channel has a few neighbouring lanes, which share the key channels of its column of the state and keep them in
/// registers. What tokens need is read some at a time, before the same tokens of y are written, so y may be r.
template <unsigned N, class T, bool has_bonus>
__global__ void __launch_bounds__(wkv_threads<N>) wkv6_kernel(cuda_rows<float const> r, cuda_rows<float const> k, cuda_rows<float const> v, cuda_rows<float const> w, T const* u,
                                                    cuda_sequences of, cuda_rows<float> y) {
    constexpr unsigned lanes = wkv_lanes<N>, own = N / lanes;
    float(*const tokens)[4][N] = shared_memory<float[4][N]>();  // r, k, v, w of wkv_tokens tokens
    unsigned const head = blockIdx.x, value = threadIdx.x / lanes, part = threadIdx.x % lanes;
    auto const& sequence = of.each[blockIdx.y];
    bool const works = value < N;
    float* const state = sequence.state + std::size_t{head} * N * N;
    float S[own], bonus[own];
    GOLDFINCH_DEVICE_UNROLL
    for (unsigned i = 0; i < own; ++i) {
        unsigned const key = i * lanes + part;
        S[i] = works ? state[key * N + value] : 0;
        bonus[i] = has_bonus && works ? static_cast<float>(u[head * N + key]) : 0;
    }
    for (unsigned first = sequence.first; first < sequence.end; first += wkv_tokens) {
        unsigned const n = smaller(wkv_tokens, sequence.end - first);
        for (unsigned i = threadIdx.x; i < n * N; i += blockDim.x) {
            unsigned const t = i / N, c = i % N;
            std::size_t const channel = std::size_t{head} * N + c;
            tokens[t][0][c] = r[first + t][channel], tokens[t][1][c] = k[first + t][channel];
            tokens[t][2][c] = v[first + t][channel], tokens[t][3][c] = w[first + t][channel];
        }
        __syncthreads();
        for (unsigned t = 0; t < n; ++t) {
            float const* const rt = tokens[t][0];
            float const* const kt = tokens[t][1];
            float const* const wt = tokens[t][3];
            float const vt = works ? tokens[t][2][value] : 0;
            float sum = 0;
            GOLDFINCH_DEVICE_UNROLL
            for (unsigned i = 0; i < own; ++i) {
                unsigned const key = i * lanes + part;
                float const kv = kt[key] * vt;
                sum = fmaf(rt[key], has_bonus ? fmaf(bonus[i], kv, S[i]) : S[i], sum);
                S[i] = fmaf(wt[key], S[i], kv);
            }
            sum = sum_of_lanes<lanes>(sum);
            if (works && part == 0) y[first + t][std::size_t{head} * N + value] = sum;
        }
        __syncthreads();
    }
    GOLDFINCH_DEVICE_UNROLL
    for (unsigned i = 0; i < own; ++i)
        if (works) state[(i * lanes + part) * N + value] = S[i];
}

}  // namespace device

template <class T>
template <std::size_t N>
void cuda_weight_kernels<T>::wkv6(cuda_executor const& at, std::size_t heads, cuda_rows<float const> r, cuda_rows<float const> k, cuda_rows<float const> v,
                                  cuda_rows<float const> w, T const* u, cuda_sequences const& of, cuda_rows<float> y) {
    constexpr unsigned n = static_cast<unsigned>(N);
    // A sequence's own length decides, so that its bits do not depend on the others in the batch.
    bool const aligned = device::rows_are_aligned(r) && device::rows_are_aligned(k) && device::rows_are_aligned(v) && device::rows_are_aligned(w);
    cuda_sequences few{}, many{};  // without bytes that differ from call to call
    for (unsigned i = 0; i < of.size; ++i) {
        auto const& sequence = of.each[i];
        bool const in_chunks = device::wkv_has_chunks<n, T> && aligned && sequence.end - sequence.first > device::wkv_chunk;
        cuda_sequences& to = in_chunks ? many : few;
        to.each[to.size++] = sequence;
    }
    if constexpr (device::wkv_has_chunks<n, T>)
        if (many.size > 0) device::launch_wkv6_chunks<n>(at, heads, r, k, v, w, u, many, y);
    auto const kernel = u != nullptr ? device::wkv6_kernel<n, T, true> : device::wkv6_kernel<n, T, false>;
    device::launch(at, kernel, dim3(static_cast<unsigned>(heads), few.size), dim3(device::wkv_threads<n>), device::wkv_tokens * 4 * N * sizeof(float), r, k, v, w, u,
                   few, y);
}

}  // namespace goldfinch::detail
