// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>

#include <goldfinch/backend/simd/rows.hpp>

namespace goldfinch {
inline namespace GOLDFINCH_ISA {
namespace kernel {

/// y = f(x, y) in every channel. y may be x.
template <class F>
void combine(cpu_executor const& be, rows<float const> x, rows<float> y, F const& f) {
    each_row(be, y.size, y.width, [&](std::size_t t) {
        float const* const from = x[t];
        float* const to = y[t];
        each_vector(y.width, [&](std::size_t i, std::size_t count)
                                 GOLDFINCH_LAMBDA_INLINE { store(to + i, f(load(from + i, count), load(to + i, count)), count); });
    });
}

// What is combined. Types of their own, so that all shapes share one loop.
struct plus {
    GOLDFINCH_INLINE batch operator()(batch x, batch y) const { return x + y; }
};
struct times_one_minus {
    GOLDFINCH_INLINE batch operator()(batch w, batch k) const { return k * (broadcast(1) - w); }
};
struct squared_if_positive {
    GOLDFINCH_INLINE batch operator()(batch, batch x) const {
        batch const positive = xsimd::max(broadcast(0), x);
        return positive * positive;
    }
};
// exp overflows to infinity where it must: both limits come out right.
struct decay_of {
    GOLDFINCH_INLINE batch operator()(batch, batch w) const { return xsimd::exp(-xsimd::exp(w)); }
};
struct times_sigmoid {
    GOLDFINCH_INLINE batch operator()(batch gate, batch x) const { return x / (broadcast(1) + xsimd::exp(-gate)); }
};
struct times_silu {
    GOLDFINCH_INLINE batch operator()(batch gate, batch x) const { return times_sigmoid{}(gate, gate) * x; }
};

}  // namespace kernel

/// y_t = v for all t.
template <class Weight, std::size_t D>
void repeat_row(simd<Weight> const& be, vector<Weight const, D> v, as<sequence<float, D>> y) {
    kernel::each_row(be, y.size, D, [&](std::size_t t) { kernel::widen(v.data, y[t], D); });
}

/// The decay of a channel: w = exp(-exp(w)), in place.
template <class Weight, std::size_t D>
void decay(simd<Weight> const& be, sequence<float, D> w) {
    kernel::combine(be, w, w, kernel::decay_of{});
}

/// k = k * (1 - w), in place.
template <class Weight, std::size_t D>
void scale_by_one_minus(simd<Weight> const& be, as<sequence<float const, D>> w, sequence<float, D> k) {
    kernel::combine(be, w, k, kernel::times_one_minus{});
}

/// y += x
template <class Weight, std::size_t D>
void add(simd<Weight> const& be, as<sequence<float const, D>> x, sequence<float, D> y) {
    kernel::combine(be, x, y, kernel::plus{});
}

/// x = max(x, 0)^2, in place.
template <class Weight, std::size_t D>
void relu_squared(simd<Weight> const& be, sequence<float, D> x) {
    kernel::combine(be, x, x, kernel::squared_if_positive{});
}

/// x = sigmoid(gate) * x, in place.
template <class Weight, std::size_t D>
void sigmoid_gate(simd<Weight> const& be, as<sequence<float const, D>> gate, sequence<float, D> x) {
    kernel::combine(be, gate, x, kernel::times_sigmoid{});
}

/// x = gate * sigmoid(gate) * x, in place.
template <class Weight, std::size_t D>
void silu_gate(simd<Weight> const& be, as<sequence<float const, D>> gate, sequence<float, D> x) {
    kernel::combine(be, gate, x, kernel::times_silu{});
}

/// y_t = a_t followed by b_t.
template <class Weight, class T, class U, std::size_t A, std::size_t B>
void concat(simd<Weight> const& be, sequence<T, A> a, sequence<U, B> b, as<sequence<float, A + B>> y) {
    kernel::each_row(be, y.size, A + B, [&](std::size_t t) {
        kernel::widen(a[t], y[t], A);
        kernel::widen(b[t], y[t] + A, B);
    });
}

/// Copies rows, in order.
template <class Weight, std::size_t D>
void copy(simd<Weight> const&, as<sequence<float const, D>> x, sequence<float, D> y) {
    for (std::size_t t = 0; t < y.size; ++t) std::copy_n(x[t], D, y[t]);
}

}  // namespace GOLDFINCH_ISA
}  // namespace goldfinch
