// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <goldfinch/backend/simd/kernels/loops.hpp>

namespace goldfinch {
inline namespace GOLDFINCH_TARGET {
namespace kernel {

/// y[i]_t = x_t + (before_t - x_t) * mu[i] for i below `count`. Rows of x are read once for all outputs.
template <element T>
void token_shift(cpu_executor const& at, rows<float const> x, float const* const* before, std::size_t count, T const* const* mu,
                 rows<float> const* y) {
    each_row(at, x.size, x.width * count, [&](std::size_t t) {
        float const *const now = x[t], *const previous = before[t];
        each_vector(x.width, [&](std::size_t c, std::size_t left) {
            vec const z = load(now + c, left), difference = load(previous + c, left) - z;
            for (std::size_t i = 0; i < count; ++i) store(y[i][t] + c, multiply_add(difference, load(mu[i] + c, left), z), left);
        });
    });
}

}  // namespace kernel
}  // namespace GOLDFINCH_TARGET
}  // namespace goldfinch
