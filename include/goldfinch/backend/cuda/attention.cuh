// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <limits>

#include <goldfinch/backend/cuda/device.cuh>
#include <goldfinch/backend/cuda/kernels.hpp>
#include <goldfinch/cache/pages.hpp>

namespace goldfinch::detail {

namespace device {

inline constexpr float infinity = std::numeric_limits<float>::infinity();
inline constexpr unsigned attend_threads = 128, attend_queries = 8;  ///< of a block: a warp has the softmax of two queries

/// Shared memory of a block: queries and the values summed up [attend_queries][n], scores [attend_queries][page_positions], keys or values
/// [page_positions][n + 1], and for each query the largest score, the total, and the factor of what was there before.
constexpr std::size_t attend_shared(std::size_t n) {
    return sizeof(float) * (attend_queries * (2 * n + page_positions + 3) + page_positions * (n + 1));
}

/// A block attends with some queries of a head to a chain of pages.
template <class Value>
__global__ void __launch_bounds__(attend_threads) attend_kernel(unsigned heads, cuda_rows<float const> q, cuda_attended<Value> const* attended, cuda_chain const* chain_list,
                                                                cuda_attention_sums sums) {
    constexpr unsigned keys = page_positions;
    unsigned const head = blockIdx.y, width = static_cast<unsigned>(q.width), n = width / heads, row = n + 1;
    float* const queries = shared_memory<float>();
    float* const value = queries + attend_queries * n;
    float* const scores = value + attend_queries * n;
    float* const page = scores + attend_queries * keys;
    float* const largest = page + keys * row;
    float* const total = largest + attend_queries;
    float* const keep = total + attend_queries;
    float const scale = 1 / sqrtf(static_cast<float>(n));
    cuda_chain const chain = chain_list[blockIdx.x];

    for (unsigned link = chain.first; link < chain.end; ++link) {
        cuda_attended<Value> const& at = attended[link];
        unsigned const first = blockIdx.z * attend_queries;
        if (first >= at.queries) continue;  // the whole block
        unsigned const count = smaller(attend_queries, at.queries - first);
        // A query's sums: what earlier pages of the chain left.
        for (unsigned i = threadIdx.x; i < count * n; i += attend_threads) {
            unsigned const query = i / n, c = i % n;
            queries[i] = q[at.query + first + query][head * n + c];
            value[i] = sums.value[std::size_t{at.sums + first + query} * width + head * n + c];
        }
        for (unsigned i = threadIdx.x; i < count; i += attend_threads) {
            std::size_t const sum = std::size_t{at.sums + first + i} * heads + head;
            largest[i] = sums.largest[sum], total[i] = sums.total[sum];
        }
        for (unsigned i = threadIdx.x; i < at.n * n; i += attend_threads)
            page[i / n * row + i % n] = static_cast<float>(at.keys[i / n * at.key_stride + head * n + i % n]);
        __syncthreads();
        for (unsigned i = threadIdx.x; i < count * keys; i += attend_threads) {
            unsigned const query = i / keys, key = i % keys;
            float sum = 0;
            bool const sees = key < at.n && key < at.visible + first + query;
            if (sees)
                for (unsigned c = 0; c < n; ++c) sum = fmaf(queries[query * n + c], page[key * row + c], sum);
            scores[i] = sees ? sum * scale : -infinity;
        }
        __syncthreads();
        for (unsigned i = threadIdx.x; i < at.n * n; i += attend_threads)
            page[i / n * row + i % n] = static_cast<float>(at.values[i / n * at.value_stride + head * n + i % n]);
        for (unsigned query = threadIdx.x / warp; query < count; query += attend_threads / warp) {
            unsigned const lane = threadIdx.x % warp;
            float const a = scores[query * keys + lane], b = scores[query * keys + warp + lane];
            float const before = largest[query], now = fmaxf(before, largest_of_lanes(fmaxf(a, b)));  // finite: a query sees its page's first key
            float const share_a = expf(a - now), share_b = expf(b - now), sum = sum_of_lanes(share_a + share_b);
            scores[query * keys + lane] = share_a, scores[query * keys + warp + lane] = share_b;
            __syncwarp();  // all lanes have read `largest`
            if (lane == 0) {
                keep[query] = expf(before - now);
                total[query] = fmaf(total[query], keep[query], sum);
                largest[query] = now;
            }
        }
        __syncthreads();
        for (unsigned i = threadIdx.x; i < count * n; i += attend_threads) {
            unsigned const query = i / n, c = i % n;
            float sum = value[i] * keep[query];
            for (unsigned key = 0; key < at.n; ++key) sum = fmaf(scores[query * keys + key], page[key * row + c], sum);
            sums.value[std::size_t{at.sums + first + query} * width + head * n + c] = sum;
        }
        for (unsigned i = threadIdx.x; i < count; i += attend_threads) {
            std::size_t const sum = std::size_t{at.sums + first + i} * heads + head;
            sums.largest[sum] = largest[i], sums.total[sum] = total[i];
        }
        __syncthreads();
    }
}

template <class OnDemand>
__global__ void clear_sums_kernel(std::size_t totals, std::size_t values, cuda_attention_sums sums) {
    std::size_t const i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
    if (i < totals) sums.largest[i] = -infinity, sums.total[i] = 0;
    if (i < values) sums.value[i] = 0;
}

/// A block a query, a thread a channel.
template <class OnDemand>
__global__ void merge_sums_kernel(unsigned heads, cuda_attention_sums sums, cuda_parts const* parts, cuda_rows<float> y) {
    cuda_parts const of = parts[blockIdx.x];
    unsigned const width = static_cast<unsigned>(y.width), n = width / heads;
    for (unsigned c = threadIdx.x; c < width; c += blockDim.x) {
        unsigned const head = c / n;
        auto const row = [&](unsigned part) { return std::size_t{of.sums + part * of.stride}; };
        float largest = -infinity, total = 0, value = 0;
        for (unsigned part = 0; part < of.parts; ++part) largest = fmaxf(largest, sums.largest[row(part) * heads + head]);
        for (unsigned part = 0; part < of.parts; ++part) {
            float const share = expf(sums.largest[row(part) * heads + head] - largest);
            total = fmaf(sums.total[row(part) * heads + head], share, total);
            value = fmaf(sums.value[row(part) * width + c], share, value);
        }
        y[of.query][c] = value / total;
    }
}

}  // namespace device

template <class Value>
void cuda_value_kernels<Value>::attend(cuda_executor const& at, std::size_t heads, cuda_rows<float const> q, cuda_attended<Value> const* attended,
                                       cuda_chain const* chain_list, std::size_t n_chains, std::size_t most_queries, cuda_attention_sums sums) {
    static_assert(page_positions == 2 * device::warp);
    dim3 const grid(static_cast<unsigned>(n_chains), static_cast<unsigned>(heads), device::divide_up(most_queries, device::attend_queries));
    device::launch(at, device::attend_kernel<Value>, grid, dim3(device::attend_threads), device::attend_shared(q.width / heads), static_cast<unsigned>(heads), q,
                   attended, chain_list, sums);
}

template <class OnDemand>
void cuda_attention_kernels<OnDemand>::clear(cuda_executor const& at, std::size_t rows, std::size_t heads, std::size_t width, cuda_attention_sums sums) {
    unsigned const threads = device::threads_for(rows * width);
    device::launch(at, device::clear_sums_kernel<OnDemand>, dim3(device::divide_up(rows * width, threads)), dim3(threads), 0, rows * heads, rows * width, sums);
}
template <class OnDemand>
void cuda_attention_kernels<OnDemand>::merge(cuda_executor const& at, std::size_t heads, cuda_attention_sums sums, cuda_parts const* parts, std::size_t n, cuda_rows<float> y) {
    device::launch(at, device::merge_sums_kernel<OnDemand>, dim3(static_cast<unsigned>(n)), dim3(device::threads_for(y.width)), 0, static_cast<unsigned>(heads), sums,
                   parts, y);
}

}  // namespace goldfinch::detail
