// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <math.h>

#include <goldfinch/backend/simd/kernels/loops.hpp>

namespace goldfinch {
inline namespace GOLDFINCH_TARGET {
namespace kernel {

/// One group of one row. The mean of floats with a large offset is not a float: it is kept as `near`, so close to the data that
/// x - near is exact, and the rest.
template <element T>
void layer_norm_group(std::size_t n, T const* weight, T const* bias, float const* x, float* y, float eps) {
    auto const size = static_cast<float>(n);
    vec const near = broadcast(sum_of(n, [&](std::size_t i, std::size_t count) { return load(x + i, count); }) / size);
    auto const from_near = [&](std::size_t i, std::size_t count) GOLDFINCH_LAMBDA_INLINE { return as_written(load(x + i, count) - near); };
    vec const rest = broadcast(sum_of(n, [&](std::size_t i, std::size_t count) { return only(from_near(i, count), count); }) / size);
    auto const centred = [&](std::size_t i, std::size_t count) GOLDFINCH_LAMBDA_INLINE { return from_near(i, count) - rest; };
    float const variance = sum_of(n,
                                  [&](std::size_t i, std::size_t count) {
                                      vec const z = only(centred(i, count), count);
                                      return z * z;
                                  }) /
                           size;
    vec const scale = broadcast(1 / ::sqrtf(variance + eps));
    each_vector(n, [&](std::size_t i, std::size_t count) {
        store(y + i, multiply_add(centred(i, count) * scale, load(weight + i, count), load(bias + i, count)), count);
    });
}

/// LayerNorm in each of `groups` equal runs of channels.
template <element T>
void layer_norm(cpu_executor const& at, T const* weight, T const* bias, rows<float const> x, rows<float> y, float eps, std::size_t groups) {
    std::size_t const n = x.width / groups;
    each_row(at, x.size, x.width, [&](std::size_t t) {
        for (std::size_t i = 0; i < x.width; i += n) layer_norm_group(n, weight + i, bias + i, x[t] + i, y[t] + i, eps);
    });
}

/// y = x / (||x|| / sqrt(width) + 1e-8)
inline void rms_norm(cpu_executor const& at, rows<float const> x, rows<float> y) {
    each_row(at, x.size, x.width, [&](std::size_t t) {
        float const* const from = x[t];
        float* const to = y[t];
        float const squares = sum_of(x.width, [&](std::size_t i, std::size_t count) { return load(from + i, count) * load(from + i, count); });
        vec const scale = broadcast(1 / (::sqrtf(squares / static_cast<float>(x.width)) + 1e-8f));
        each_vector(x.width, [&](std::size_t i, std::size_t count) { store(to + i, load(from + i, count) * scale, count); });
    });
}

}  // namespace kernel
}  // namespace GOLDFINCH_TARGET
}  // namespace goldfinch
