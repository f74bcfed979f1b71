// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <type_traits>

#include <goldfinch/backend/attention_sums.hpp>
#include <goldfinch/backend/simd/tile.hpp>

namespace goldfinch {
inline namespace GOLDFINCH_ISA {
namespace kernel {

/// Keys that are scored at once: scores stay in L1.
inline constexpr std::size_t key_block = 64;
static_assert(key_block % lanes == 0 && key_block % 2 == 0);
/// Up to this many queries use the keys as they lie; with more, keys are transposed so that they are lanes.
inline constexpr std::size_t few_queries = 3;

/// Rows of run-time extents.
template <class T>
struct block {
    T* data;
    std::size_t stride;
    T* operator[](std::size_t i) const { return data + i * stride; }
};

/// What `attend` works on: views of the arguments, extents at run time.
template <class Value>
struct attention {
    std::size_t heads, head_size, queries, keys;
    block<float const> q;
    block<Value const> k, v;
    block<float> max, total, value;
    std::size_t offset;  ///< query i sees the keys below offset + i
};

/// scores [n] = exp(scores - max), zeros behind them up to key_block, where max is the larger of the running one and theirs. Updates
/// max and total and returns by how much to multiply what was summed before.
inline float softmax_step(float* scores, std::size_t n, float& max, float& total) {
    batch high = broadcast(max);
    for (std::size_t j = 0; j < n; j += lanes) {
        // Lanes behind the end take the first score, which changes no maximum.
        if (j + lanes > n) std::fill(scores + n, scores + j + lanes, scores[0]);
        high = xsimd::max(high, load(scores + j));
    }
    alignas(alignment) float each[lanes];
    store(each, high);
    float const now = *std::max_element(each, each + lanes), keep = std::exp(max - now);
    batch sums = broadcast(0);
    for (std::size_t j = 0; j < n; j += lanes) {
        batch const p = xsimd::exp(load(scores + j) - broadcast(now));
        store(scores + j, p);
        if (j + lanes > n) std::fill(scores + n, scores + j + lanes, 0.0f);
        sums = sums + load(scores + j);
    }
    std::fill(scores + ceil_div(n, lanes) * lanes, scores + key_block, 0.0f);
    max = now;
    total = total * keep + sum(sums);
    return keep;
}

/// q . k over n channels.
template <class Value>
float dot(float const* q, Value const* k, std::size_t n) {
    batch s = broadcast(0), s2 = broadcast(0);
    std::size_t i = 0;
    for (; i + 2 * lanes <= n; i += 2 * lanes) {
        s = xsimd::fma(load(q + i), load(k + i), s);
        s2 = xsimd::fma(load(q + i + lanes), load(k + i + lanes), s2);
    }
    for (; i < n; i += lanes) s = xsimd::fma(load(q + i, n - i), load(k + i, n - i), s);
    return sum(s + s2);
}

/// y = y * keep + p v for n rows of values, V vectors of channels of which the last holds `last`.
template <std::size_t V, class Value>
void mix(float const* p, block<Value const> v, std::size_t n, float keep, float* y, std::size_t last) {
    batch s[2 * V];
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < V; ++i) {
        s[i] = load(y + i * lanes, i + 1 == V ? last : lanes) * broadcast(keep);
        s[V + i] = broadcast(0);
    }
    // Two rows at once: one chain of additions a channel would wait for itself.
    for (std::size_t j = 0; j < n; j += 2) {
        Value const *const a = v[j], *const b = v[std::min(j + 1, n - 1)];  // p is 0 behind the end
        batch const pa = broadcast(p[j]), pb = broadcast(p[j + 1]);
        GOLDFINCH_UNROLL
        for (std::size_t i = 0; i < V; ++i) {
            std::size_t const count = i + 1 == V ? last : lanes;
            s[i] = xsimd::fma(pa, load(a + i * lanes, count), s[i]);
            s[V + i] = xsimd::fma(pb, load(b + i * lanes, count), s[V + i]);
        }
    }
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < V; ++i) store(y + i * lanes, s[i] + s[V + i], i + 1 == V ? last : lanes);
}

/// Keys [first, first + n) for few queries. Rows of keys are read whole, heads inside, since they may come from memory; the values
/// are on their way meanwhile.
template <class Value>
void attend_few(attention<Value> const& at, std::size_t first, std::size_t n, temporaries& memory) {
    std::size_t const N = at.head_size;
    float const scale = 1 / std::sqrt(static_cast<float>(N));
    float* const scores = memory.array<float>(at.heads * key_block);
    for (std::size_t t = 0; t < at.queries; ++t) {
        std::size_t const limit = at.offset + t, seen = limit > first ? std::min(n, limit - first) : 0;
        if (seen == 0) continue;
        for (std::size_t j = 0; j < seen; ++j) {
            prefetch(at.v[first + j], at.heads * N);
            for (std::size_t h = 0; h < at.heads; ++h) scores[h * key_block + j] = dot(at.q[t] + h * N, at.k[first + j] + h * N, N) * scale;
        }
        for (std::size_t h = 0; h < at.heads; ++h) {
            float* const p = scores + h * key_block;
            float const keep = softmax_step(p, seen, at.max[t][h], at.total[t][h]);
            float* const y = at.value[t] + h * N;
            block<Value const> const v{at.v[first] + h * N, at.v.stride};
            constexpr std::size_t V = 4;
            std::size_t i = 0;
            for (; i + V * lanes <= N; i += V * lanes) mix<V>(p, block<Value const>{v.data + i, v.stride}, seen, keep, y + i, lanes);
            for (; i < N; i += lanes) mix<1>(p, block<Value const>{v.data + i, v.stride}, seen, keep, y + i, std::min(lanes, N - i));
        }
    }
}

/// Keys [first, first + n) for many queries: per head, scores = q k^T and value += p v by tiles.
template <class Value>
void attend_many(attention<Value> const& at, std::size_t first, std::size_t n, temporaries& memory) {
    std::size_t const N = at.head_size, width = ceil_div(N, lanes) * lanes, key_width = ceil_div(n, lanes) * lanes;
    batch const scale = broadcast(1 / std::sqrt(static_cast<float>(N)));
    float* const keys = memory.array<float>(key_block * N);
    float* const values = memory.array<float>(key_block * width);
    float* const q = memory.array<float>(tile_rows * tile_stride);
    float* const scores = memory.array<float>(tile_rows * tile_stride);
    float* const mixed = memory.array<float>(tile_rows * width);
    for (std::size_t h = 0; h < at.heads; ++h) {
        std::size_t const from = h * N;
        for (std::size_t j = 0; j < key_width; j += panel_width)
            pack_transposed(at.k[first + j] + from, at.k.stride, n - j, N, keys + j * N, std::min(panel_width, key_width - j));
        for (std::size_t c = 0; c < width; c += panel_width)
            pack_columns(at.v[first] + from + c, at.v.stride, N - c, n, values + c * n, std::min(panel_width, width - c));
        for (std::size_t t = 0; t < at.queries; t += tile_rows) {
            std::size_t const rows = std::min(tile_rows, at.queries - t), limit = at.offset + t + rows - 1;
            if (limit <= first) continue;
            pack_rows(at.q[t] + from, at.q.stride, rows, N, q);
            for (std::size_t r = 0; r < tile_rows; ++r)
                for (std::size_t i = 0; i < N; i += lanes) store(q + r * tile_stride + i, load(q + r * tile_stride + i) * scale);
            for (std::size_t j = 0; j < key_width; j += panel_width)
                tile(rows, std::min(panel_width, key_width - j), q, keys + j * N, N, scores + j, tile_stride, true);
            float keep[tile_rows];
            for (std::size_t r = 0; r < rows; ++r) {
                std::size_t const end = at.offset + t + r, seen = end > first ? std::min(n, end - first) : 0;
                float* const row = scores + r * tile_stride;
                keep[r] = 1;
                if (seen > 0)
                    keep[r] = softmax_step(row, seen, at.max[t + r][h], at.total[t + r][h]);
                else
                    std::fill(row, row + n, 0.0f);
            }
            for (std::size_t c = 0; c < width; c += panel_width)
                tile(rows, std::min(panel_width, width - c), scores, values + c * n, n, mixed + c, width, true);
            for (std::size_t r = 0; r < rows; ++r)
                for (std::size_t i = 0; i < N; i += lanes) {
                    float* const y = at.value[t + r] + from + i;
                    store(y, xsimd::fma(load(y, N - i), broadcast(keep[r]), load(mixed + r * width + i)), N - i);
                }
        }
    }
}

template <class Value>
void attend(cpu_executor const& be, attention<Value> const& at) {
    for (std::size_t first = 0; first < at.keys; first += key_block) {
        std::size_t const n = std::min(key_block, at.keys - first);
        temporaries memory(be);
        if (at.queries <= few_queries)
            attend_few(at, first, n, memory);
        else
            attend_many(at, first, n, memory);
    }
}

}  // namespace kernel

/// Sums of no keys.
template <class Weight, std::size_t H, std::size_t A>
void clear(simd<Weight> const&, attention_sums<float, H, A> const& sums) {
    for (std::size_t t = 0; t < sums.value.size; ++t) {
        std::fill_n(sums.max[t], H, -std::numeric_limits<float>::infinity());
        std::fill_n(sums.total[t], H, 0.0f);
        std::fill_n(sums.value[t], A, 0.0f);
    }
}

/// Adds keys and values to the sums of the queries at or after them (causal, bottom-right): row i of q is the query at
/// position q_position + i, row j of k and v the key and value at k_position + j. score = q . k / sqrt(A / H) per head.
/// Works on the calling thread; call it with tiles of any number of keys.
template <class Weight, class Value, std::size_t H, std::size_t A>
void attend(simd<Weight> const& be, as<sequence<float const, A>> q, std::size_t q_position, sequence<Value, A> k, as<sequence<Value, A>> v,
            std::size_t k_position, attention_sums<float, H, A> const& sums) {
    static_assert(A / H <= kernel::tile_depth, "goldfinch: simd attends with a head_size of at most 512");
    // The keys before the first query's end, counted from the first key; where that is negative, the first queries see none.
    std::size_t const hidden = k_position > q_position ? std::min(q.size, k_position - q_position) : 0;
    std::size_t const first = q_position + hidden;
    if (hidden == q.size) return;
    kernel::attend<std::remove_const_t<Value>>(be, {H,
                                                    A / H,
                                                    q.size - hidden,
                                                    k.size,
                                                    {q[hidden], q.stride},
                                                    {k.data, k.stride},
                                                    {v.data, v.stride},
                                                    {sums.max[hidden], sums.max.stride},
                                                    {sums.total[hidden], sums.total.stride},
                                                    {sums.value[hidden], sums.value.stride},
                                                    first + 1 - k_position});
}

/// Joins sums over disjoint keys, in order, and divides: y_t = value / total. At least one of them holds keys for every query.
template <class Weight, std::size_t H, std::size_t A>
void merge(simd<Weight> const&, std::span<attention_sums<float, H, A> const> parts, as<sequence<float, A>> y) {
    constexpr std::size_t N = A / H;
    for (std::size_t t = 0; t < y.size; ++t)
        for (std::size_t h = 0; h < H; ++h) {
            float max = -std::numeric_limits<float>::infinity(), total = 0;
            for (auto const& part : parts) max = std::max(max, part.max[t][h]);
            for (auto const& part : parts) total += part.total[t][h] * std::exp(part.max[t][h] - max);
            float* const to = y[t] + h * N;
            std::fill_n(to, N, 0.0f);
            for (auto const& part : parts) {
                kernel::batch const share = kernel::broadcast(std::exp(part.max[t][h] - max) / total);
                float const* const from = part.value[t] + h * N;
                for (std::size_t i = 0; i < N; i += kernel::lanes)
                    kernel::store(to + i, xsimd::fma(kernel::load(from + i, N - i), share, kernel::load(to + i, N - i)), N - i);
            }
        }
}

}  // namespace GOLDFINCH_ISA
}  // namespace goldfinch
