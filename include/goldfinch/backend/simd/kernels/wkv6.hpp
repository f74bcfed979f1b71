// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <goldfinch/backend/simd/kernels/loops.hpp>

namespace goldfinch {
inline namespace GOLDFINCH_TARGET {
namespace kernel {

/// One head through a few tokens, packed: rows `pitch` apart, a multiple of the vector, so that they stay in L1.
struct wkv6_block {
    float *r, *k, *v, *w, *y;
    std::size_t pitch, tokens;
};

/// Vectors of value channels in a tile: with four key channels the tile takes half the registers.
inline constexpr std::size_t wkv6_vectors = many_registers ? 4 : 2;

/// Key channels [i, i + R) x V vectors of value channels from j of the state, held in registers through all tokens of the block:
///     y += r_i S_i;  S_i = w_i S_i + k_i v
/// `count` is how much of a vector there is.
template <std::size_t R, std::size_t V>
void wkv6_tile(wkv6_block const& b, float* state, std::size_t n, std::size_t i, std::size_t j, std::size_t count) {
    float* const corner = state + i * n + j;
    vec s[R][V];
    GOLDFINCH_UNROLL
    for (std::size_t a = 0; a < R; ++a) {
        GOLDFINCH_UNROLL
        for (std::size_t c = 0; c < V; ++c) s[a][c] = load(corner + a * n + c * lanes, count);
    }
    float const *rt = b.r + i, *kt = b.k + i, *wt = b.w + i, *vt = b.v + j;
    float* yt = b.y + j;
    std::size_t const pitch = b.pitch;
    for (std::size_t left = b.tokens; left > 0; --left, rt += pitch, kt += pitch, wt += pitch, vt += pitch, yt += pitch) {
        vec v[V], y[V];
        GOLDFINCH_UNROLL
        for (std::size_t c = 0; c < V; ++c) {
            v[c] = load(vt + c * lanes);
            y[c] = load(yt + c * lanes);
        }
        GOLDFINCH_UNROLL
        for (std::size_t a = 0; a < R; ++a) {
            vec const r = broadcast(rt[a]), k = broadcast(kt[a]), w = broadcast(wt[a]);
            GOLDFINCH_UNROLL
            for (std::size_t c = 0; c < V; ++c) {
                y[c] = multiply_add(r, s[a][c], y[c]);
                s[a][c] = multiply_add(w, s[a][c], k * v[c]);
            }
        }
        GOLDFINCH_UNROLL
        for (std::size_t c = 0; c < V; ++c) store(yt + c * lanes, y[c]);
    }
    GOLDFINCH_UNROLL
    for (std::size_t a = 0; a < R; ++a) {
        GOLDFINCH_UNROLL
        for (std::size_t c = 0; c < V; ++c) store(corner + a * n + c * lanes, s[a][c], count);
    }
}

/// V vectors of value channels from j, all key channels.
template <std::size_t V>
void wkv6_strip(wkv6_block const& b, float* state, std::size_t n, std::size_t j, std::size_t count) {
    std::size_t i = 0;
    for (; i + 4 <= n; i += 4) wkv6_tile<4, V>(b, state, n, i, j, count);
    for (; i < n; ++i) wkv6_tile<1, V>(b, state, n, i, j, count);
}

/// Value channels [j, end).
inline void wkv6_columns(wkv6_block const& b, float* state, std::size_t n, std::size_t j, std::size_t end) {
    for (; j + wkv6_vectors * lanes <= end; j += wkv6_vectors * lanes) wkv6_strip<wkv6_vectors>(b, state, n, j, lanes);
    for (; j < end; j += lanes) wkv6_strip<1>(b, state, n, j, end - j);
}

/// The recurrence of RWKV-6 per sequence and head, state S [key channel][value channel]: y_t = r_t S, then S = diag(w_t) S + k_t^T v_t.
/// With a bonus u [heads, n], y_t = r_t (S + diag(u) k_t^T v_t). y may be r.
///
/// Sequences and heads are independent, and so are value channels within a head: with fewer heads than threads those are shared out too.
template <element T>
void wkv6(cpu_executor const& be, std::size_t heads, std::size_t n, rows<float const> r, rows<float const> k, rows<float const> v,
          rows<float const> w, T const* u, detail::state_rows state, rows<float> y) {
    constexpr std::size_t run = 32;  // tokens a block: v, y and a tile of the state fit in L1, the rest streams past
    cpu_executor const at = threads_for(be, r.size * heads * n * n / 2);
    bool const split = state.size * heads < at.threads;
    std::size_t const columns = split ? wkv6_vectors * lanes : n, parts = ceil_div(n, columns);

    temporaries kept(at);
    if (parts > 1 && r.data == y.data) {  // the parts of a head read all of r
        auto* const copy_of_r = kept.array<float>(r.size * r.width);
        for (std::size_t t = 0; t < r.size; ++t) copy(r[t], r.width, copy_of_r + t * r.width);
        r = {copy_of_r, r.size, r.width, r.width};
    }
    parallel(at, state.size * heads * parts, [&](cpu_executor const& alone, std::size_t task) {
        std::size_t const sequence = task / parts / heads, begin = state.first[sequence], end = state.first[sequence + 1];
        if (begin == end) return;
        std::size_t const head = task / parts % heads, channel = head * n, first = task % parts * columns, last = min(n, first + columns);
        std::size_t const pitch = ceil_div(n, lanes) * lanes, size = min(run, end - begin) * pitch;
        temporaries memory(alone);
        float* const p = memory.array<float>(5 * size);
        if (pitch != n) fill(p, 5 * size, 0);
        wkv6_block b{p, p + size, p + 2 * size, p + 3 * size, p + 4 * size, pitch, 0};
        for (std::size_t start = begin; start < end; start += run) {
            b.tokens = min(run, end - start);
            for (std::size_t t = 0; t < b.tokens; ++t) {
                float *const rt = b.r + t * pitch, *const kt = b.k + t * pitch, *const vt = b.v + t * pitch, *const yt = b.y + t * pitch;
                // Short pieces of distant rows: processors do not see them coming, and would wait for them half the time.
                if (std::size_t const next = start + run + t; next < end) {
                    prefetch(r[next] + channel, n);
                    prefetch(k[next] + channel, n);
                    prefetch(v[next] + channel, n);
                    prefetch(w[next] + channel, n);
                }
                widen_row(r[start + t] + channel, rt, n);
                widen_row(k[start + t] + channel, kt, n);
                widen_row(v[start + t] + channel, vt, n);
                widen_row(w[start + t] + channel, b.w + t * pitch, n);
                if (u == nullptr) {
                    fill(yt, pitch, 0);
                } else {  // r diag(u) k^T v is one number times v
                    T const* const bonus = u + channel;
                    vec const scale = broadcast(sum_of(
                        n, [&](std::size_t i, std::size_t count) { return load(rt + i, count) * load(bonus + i, count) * load(kt + i, count); }));
                    each_vector(pitch, [&](std::size_t i, std::size_t count) { store(yt + i, scale * load(vt + i, count), count); });
                }
            }
            wkv6_columns(b, state[sequence] + head * n * n, n, first, last);
            for (std::size_t t = 0; t < b.tokens; ++t) widen_row(b.y + t * pitch + first, y[start + t] + channel + first, last - first);
        }
    });
}

}  // namespace kernel
}  // namespace GOLDFINCH_TARGET
}  // namespace goldfinch
