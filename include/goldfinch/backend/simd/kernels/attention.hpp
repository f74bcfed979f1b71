// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <math.h>

#include <goldfinch/backend/simd/kernels/tile.hpp>

namespace goldfinch {
inline namespace GOLDFINCH_TARGET {
namespace kernel {

/// Keys that are scored at once: scores stay in L1.
inline constexpr std::size_t key_block = 64;
static_assert(key_block % lanes == 0 && key_block % 2 == 0);
using detail::attention_sums;
using detail::attention_tile;

/// scores [n] = exp(scores - max), zeros behind them up to key_block, where max is the larger of the running one and theirs. Updates
/// max and total and returns by how much to multiply what was summed before.
inline float softmax_step(float* scores, std::size_t n, float& max, float& total) {
    vec high = broadcast(max);
    for (std::size_t j = 0; j < n; j += lanes) {
        // Lanes behind the end take the first score, which changes no maximum.
        if (j + lanes > n) fill(scores + n, j + lanes - n, scores[0]);
        high = xsimd::max(high, load(scores + j));
    }
    float const now = largest(high), keep = ::expf(max - now);
    vec sums = broadcast(0);
    for (std::size_t j = 0; j < n; j += lanes) {
        vec const p = xsimd::exp(load(scores + j) - broadcast(now));
        store(scores + j, p);
        if (j + lanes > n) fill(scores + n, j + lanes - n, 0);
        sums = sums + load(scores + j);
    }
    std::size_t const end = ceil_div(n, lanes) * lanes;
    fill(scores + end, key_block - end, 0);
    max = now;
    total = total * keep + sum(sums);
    return keep;
}

/// y[t] = scale * q_t . k over n channels, for Queries rows of q.
template <std::size_t Queries, class Value>
void scores_of(float const* q, std::size_t q_stride, Value const* k, std::size_t n, float scale, float* y, std::size_t y_stride) {
    vec s[2 * Queries];
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < 2 * Queries; ++i) s[i] = broadcast(0);
    std::size_t i = 0;
    for (; i + 2 * lanes <= n; i += 2 * lanes) {
        vec const key = load(k + i), key2 = load(k + i + lanes);
        GOLDFINCH_UNROLL
        for (std::size_t t = 0; t < Queries; ++t) {
            s[2 * t] = multiply_add(load(q + t * q_stride + i), key, s[2 * t]);
            s[2 * t + 1] = multiply_add(load(q + t * q_stride + i + lanes), key2, s[2 * t + 1]);
        }
    }
    for (; i < n; i += lanes) {
        vec const key = load(k + i, n - i);
        GOLDFINCH_UNROLL
        for (std::size_t t = 0; t < Queries; ++t) s[2 * t] = multiply_add(load(q + t * q_stride + i, n - i), key, s[2 * t]);
    }
    for (std::size_t t = 0; t < Queries; ++t) y[t * y_stride] = sum(s[2 * t] + s[2 * t + 1]) * scale;
}

/// y = y * keep + p v for rows of values, V vectors of channels of which the last holds `last`.
template <std::size_t V, class Value>
void weighted_sum(float const* p, rows<Value const> v, float keep, float* y, std::size_t last) {
    vec s[2 * V];
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < V; ++i) {
        s[i] = load(y + i * lanes, i + 1 == V ? last : lanes) * broadcast(keep);
        s[V + i] = broadcast(0);
    }
    // Two rows at once: one chain of additions a channel would wait for itself.
    for (std::size_t j = 0; j < v.size; j += 2) {
        Value const *const a = v[j], *const b = v[min(j + 1, v.size - 1)];  // p is 0 behind the end
        vec const pa = broadcast(p[j]), pb = broadcast(p[j + 1]);
        GOLDFINCH_UNROLL
        for (std::size_t i = 0; i < V; ++i) {
            std::size_t const count = i + 1 == V ? last : lanes;
            s[i] = multiply_add(pa, load(a + i * lanes, count), s[i]);
            s[V + i] = multiply_add(pb, load(b + i * lanes, count), s[V + i]);
        }
    }
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < V; ++i) store(y + i * lanes, s[i] + s[V + i], i + 1 == V ? last : lanes);
}

/// Keys [first, first + n) for few queries. Rows of keys are read whole, heads inside, since they may come from memory; the values
/// are on their way meanwhile.
template <class Value>
void attend_few(attention_tile<Value> const& at, std::size_t first, std::size_t n, temporaries& memory) {
    constexpr std::size_t queries = many_registers ? 4 : 2, V = 4;
    std::size_t const N = at.head_size;
    float const scale = 1 / ::sqrtf(static_cast<float>(N));
    float* const scores = memory.array<float>(queries * at.heads * key_block);
    by_runs<queries>(at.q.size, [&](auto run, std::size_t t) GOLDFINCH_LAMBDA_INLINE {
        // Keys behind what a query sees get scores that nobody reads.
        std::size_t const limit = at.offset + t + run.size - 1, seen_by_one = limit > first ? min(n, limit - first) : 0;
        for (std::size_t j = 0; j < seen_by_one; ++j) {
            prefetch(at.v[first + j], at.heads * N);
            for (std::size_t h = 0; h < at.heads; ++h)
                scores_of<run.size>(at.q[t] + h * N, at.q.stride, at.k[first + j] + h * N, N, scale, scores + h * key_block + j, at.heads * key_block);
        }
        for (std::size_t h = 0; h < at.heads; ++h)
            for (std::size_t i = 0; i < run.size; ++i) {
                std::size_t const query = t + i, end = at.offset + query, seen = end > first ? min(n, end - first) : 0;
                if (seen == 0) continue;
                float* const p = scores + (i * at.heads + h) * key_block;
                float const keep = softmax_step(p, seen, at.sums.max[query][h], at.sums.total[query][h]);
                float* const y = at.sums.value[query] + h * N;
                Value const* const v = at.v[first] + h * N;
                std::size_t c = 0;
                for (; c + V * lanes <= N; c += V * lanes) weighted_sum<V>(p, rows<Value const>{v + c, seen, at.v.stride, V * lanes}, keep, y + c, lanes);
                for (; c < N; c += lanes) weighted_sum<1>(p, rows<Value const>{v + c, seen, at.v.stride, lanes}, keep, y + c, min(lanes, N - c));
            }
    });
}

/// Keys [first, first + n) for many queries: per head, scores = q k^T and value += p v by tiles.
template <class Value>
void attend_many(attention_tile<Value> const& at, std::size_t first, std::size_t n, temporaries& memory) {
    std::size_t const N = at.head_size, width = ceil_div(N, lanes) * lanes, key_width = ceil_div(n, lanes) * lanes;
    vec const scale = broadcast(1 / ::sqrtf(static_cast<float>(N)));
    float* const keys = memory.array<float>(key_block * N);
    float* const values = memory.array<float>(key_block * width);
    float* const q = memory.array<float>(tile_rows * tile_stride);
    float* const scores = memory.array<float>(tile_rows * tile_stride);
    float* const mixed = memory.array<float>(tile_rows * width);
    for (std::size_t h = 0; h < at.heads; ++h) {
        std::size_t const from = h * N;
        for (std::size_t j = 0; j < key_width; j += panel_width)
            pack_transposed(at.k[first + j] + from, at.k.stride, n - j, N, keys + j * N, min(panel_width, key_width - j));
        for (std::size_t c = 0; c < width; c += panel_width)
            pack_columns(at.v[first] + from + c, at.v.stride, N - c, n, values + c * n, min(panel_width, width - c));
        for (std::size_t t = 0; t < at.q.size; t += tile_rows) {
            std::size_t const n_rows = min(tile_rows, at.q.size - t), limit = at.offset + t + n_rows - 1;
            if (limit <= first) continue;
            pack_rows(at.q[t] + from, at.q.stride, n_rows, N, q);
            for (std::size_t r = 0; r < tile_rows; ++r)
                for (std::size_t i = 0; i < N; i += lanes) store(q + r * tile_stride + i, load(q + r * tile_stride + i) * scale);
            for (std::size_t j = 0; j < key_width; j += panel_width)
                tile(n_rows, min(panel_width, key_width - j), q, keys + j * N, N, scores + j, tile_stride, true);
            float keep[tile_rows];
            for (std::size_t r = 0; r < n_rows; ++r) {
                std::size_t const end = at.offset + t + r, seen = end > first ? min(n, end - first) : 0;
                float* const row = scores + r * tile_stride;
                keep[r] = 1;
                if (seen > 0)
                    keep[r] = softmax_step(row, seen, at.sums.max[t + r][h], at.sums.total[t + r][h]);
                else
                    fill(row, n, 0);
            }
            for (std::size_t c = 0; c < width; c += panel_width)
                tile(n_rows, min(panel_width, width - c), scores, values + c * n, n, mixed + c, width, true);
            for (std::size_t r = 0; r < n_rows; ++r)
                for (std::size_t i = 0; i < N; i += lanes) {
                    float* const y = at.sums.value[t + r] + from + i;
                    store(y, multiply_add(load(y, N - i), broadcast(keep[r]), load(mixed + r * width + i)), N - i);
                }
        }
    }
}

/// Adds the keys and values to the sums. score = q . k / sqrt(head_size) per head; head_size is at most tile_depth. Works on the calling
/// thread.
template <class Value>
void attend(cpu_executor const& be, attention_tile<Value> const& at) {
    for (std::size_t first = 0; first < at.k.size; first += key_block) {
        std::size_t const n = min(key_block, at.k.size - first);
        temporaries memory(be);
        if (at.q.size <= few_tokens)
            attend_few(at, first, n, memory);
        else
            attend_many(at, first, n, memory);
    }
}

/// Joins sums over disjoint keys, in order, and divides: y_t = value / total. At least one of the parts holds keys for every query.
inline void merge(cpu_executor const& be, attention_sums<float> const* parts, std::size_t count, std::size_t heads, rows<float> y) {
    std::size_t const n = y.width / heads;
    each_row(be, y.size, y.width * count, [&](std::size_t t) {
        for (std::size_t h = 0; h < heads; ++h) {
            float max = parts[0].max[t][h], total = 0;
            for (std::size_t p = 1; p < count; ++p) max = parts[p].max[t][h] > max ? parts[p].max[t][h] : max;
            for (std::size_t p = 0; p < count; ++p) total += parts[p].total[t][h] * ::expf(parts[p].max[t][h] - max);
            float* const to = y[t] + h * n;
            fill(to, n, 0);
            for (std::size_t p = 0; p < count; ++p) {
                vec const share = broadcast(::expf(parts[p].max[t][h] - max) / total);
                float const* const from = parts[p].value[t] + h * n;
                each_vector(
                    n, [&](std::size_t i, std::size_t left) { store(to + i, multiply_add(load(from + i, left), share, load(to + i, left)), left); });
            }
        }
    });
}

}  // namespace kernel
}  // namespace GOLDFINCH_TARGET
}  // namespace goldfinch
