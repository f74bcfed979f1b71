// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>

#include <goldfinch/backend/simd/rows.hpp>

namespace goldfinch {
inline namespace GOLDFINCH_ISA {
namespace kernel {

template <class T>
void token_shift(cpu_executor const& be, rows<float const> x, float const* prev, T const* mu, rows<float> y) {
    each_row(be, x.size, x.width, [&](std::size_t t) {
        float const *const now = x[t], *const before = t == 0 ? prev : x[t - 1];
        float* const to = y[t];
        each_vector(x.width, [&](std::size_t i, std::size_t count) {
            batch const z = load(now + i, count);
            store(to + i, multiply_add(load(before + i, count) - z, load(mu + i, count), z), count);
        });
    });
}

}  // namespace kernel

/// Token shift: y_t = x_t + (x_{t-1} - x_t) * mu, where x_{-1} = prev.
template <class Weight, std::size_t D>
void token_shift(simd<Weight> const& be, as<sequence<float const, D>> x, as<vector<float const, D>> prev, vector<Weight const, D> mu,
                 as<sequence<float, D>> y) {
    kernel::token_shift(be, x, prev.data, mu.data, y);
}

/// prev = the last row of x; unchanged if there is none.
template <class Weight, std::size_t D>
void keep_last(simd<Weight> const&, as<sequence<float const, D>> x, vector<float, D> prev) {
    if (x.size > 0) std::copy_n(x[x.size - 1], D, prev.data);
}

}  // namespace GOLDFINCH_ISA
}  // namespace goldfinch
