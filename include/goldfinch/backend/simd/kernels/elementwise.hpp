// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <goldfinch/backend/simd/kernels/loops.hpp>

namespace goldfinch {
inline namespace GOLDFINCH_TARGET {
namespace kernel {

/// y = f(x, y) in every channel. y may be x.
template <class F>
void combine(cpu_executor const& at, rows<float const> x, rows<float> y, F const& f) {
    each_row(at, y.size, y.width, [&](std::size_t t) {
        float const* const from = x[t];
        float* const to = y[t];
        each_vector(y.width, [&](std::size_t i, std::size_t count)
                                 GOLDFINCH_LAMBDA_INLINE { store(to + i, f(load(from + i, count), load(to + i, count)), count); });
    });
}

/// A gate that exp(-gate) is finite of: of infinity, -ffast-math makes NaN in a division. The sigmoid below is 0 to any precision. NaN stays NaN.
GOLDFINCH_INLINE vec bounded(vec gate) { return xsimd::max(broadcast(-88), gate); }
/// sigmoid(gate) * x
GOLDFINCH_INLINE vec sigmoid_times(vec gate, vec x) { return x / (broadcast(1) + xsimd::exp(-bounded(gate))); }

/// 1 - exp(-e) for e >= 0, where w = exp(-e). Their difference has few bits left where w is near 1: there the series takes its place.
GOLDFINCH_INLINE vec one_minus_exp(vec e, vec w) {
    vec series = multiply_add(broadcast(-1.0f / 720), e, broadcast(1.0f / 120));
    series = multiply_add(series, e, broadcast(-1.0f / 24));
    series = multiply_add(series, e, broadcast(1.0f / 6));
    series = multiply_add(series, e, broadcast(-1.0f / 2));
    series = multiply_add(series, e, broadcast(1));
    return xsimd::select(e < broadcast(0.25f), e * series, broadcast(1) - w);
}

/// y += x
inline void add(cpu_executor const& at, rows<float const> x, rows<float> y) {
    combine(at, x, y, [](vec a, vec b) GOLDFINCH_LAMBDA_INLINE { return a + b; });
}

/// w = exp(-exp(w)). exp overflows to infinity where it must: both limits come out right.
inline void decay(cpu_executor const& at, rows<float> w) {
    combine(at, w, w, [](vec, vec z) GOLDFINCH_LAMBDA_INLINE { return xsimd::exp(-xsimd::exp(z)); });
}

/// The same, and k *= 1 - w.
inline void decay_scaling(cpu_executor const& at, rows<float> w, rows<float> k) {
    each_row(at, w.size, w.width, [&](std::size_t t) {
        float *const wt = w[t], *const kt = k[t];
        each_vector(w.width, [&](std::size_t i, std::size_t count) {
            vec const e = xsimd::exp(load(wt + i, count)), decay = xsimd::exp(-e);
            store(wt + i, decay, count);
            store(kt + i, load(kt + i, count) * one_minus_exp(e, decay), count);
        });
    });
}

/// x = max(x, 0)^2
inline void relu_squared(cpu_executor const& at, rows<float> x) {
    combine(at, x, x, [](vec, vec z) GOLDFINCH_LAMBDA_INLINE {
        vec const positive = xsimd::max(broadcast(0), z);
        return positive * positive;
    });
}

/// x *= sigmoid(gate)
inline void sigmoid_gate(cpu_executor const& at, rows<float const> gate, rows<float> x) {
    combine(at, gate, x, [](vec g, vec z) GOLDFINCH_LAMBDA_INLINE { return sigmoid_times(g, z); });
}

/// x *= gate * sigmoid(gate)
inline void silu_gate(cpu_executor const& at, rows<float const> gate, rows<float> x) {
    combine(at, gate, x, [](vec g, vec z) GOLDFINCH_LAMBDA_INLINE { return sigmoid_times(g, bounded(g)) * z; });
}

/// y_t = the elements at from[t], as float.
template <element T>
void widen(cpu_executor const& at, T const* const* from, rows<float> y) {
    each_row(at, y.size, y.width, [&](std::size_t t) { widen_row(from[t], y[t], y.width); });
}

}  // namespace kernel
}  // namespace GOLDFINCH_TARGET
}  // namespace goldfinch
