// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>

#include <goldfinch/backend/simd/rows.hpp>

namespace goldfinch {
inline namespace GOLDFINCH_ISA {
namespace kernel {

/// One group of one row. The mean of floats with a large offset is not a float: it is kept as `near`, so close to the data that
/// x - near is exact, and the rest.
template <class T>
void layer_norm(std::size_t n, T const* weight, T const* bias, float const* x, float* y, float eps) {
    auto const size = static_cast<float>(n);
    batch const near = broadcast(sum_of(n, [&](std::size_t i, std::size_t count) { return load(x + i, count); }) / size);
    batch const rest = broadcast(sum_of(n, [&](std::size_t i, std::size_t count) { return only(load(x + i, count) - near, count); }) / size);
    auto const centred = [&](std::size_t i, std::size_t count) { return (load(x + i, count) - near) - rest; };
    float const variance = sum_of(n,
                                  [&](std::size_t i, std::size_t count) {
                                      batch const z = only(centred(i, count), count);
                                      return z * z;
                                  }) /
                           size;
    batch const scale = broadcast(1 / std::sqrt(variance + eps));
    each_vector(n, [&](std::size_t i, std::size_t count) {
        store(y + i, multiply_add(centred(i, count) * scale, load(weight + i, count), load(bias + i, count)), count);
    });
}

template <class T>
void layer_norm(cpu_executor const& be, T const* weight, T const* bias, rows<float const> x, rows<float> y, float eps, std::size_t groups) {
    std::size_t const n = x.width / groups;
    each_row(be, x.size, x.width, [&](std::size_t t) {
        for (std::size_t i = 0; i < x.width; i += n) layer_norm(n, weight + i, bias + i, x[t] + i, y[t] + i, eps);
    });
}

inline void rms_norm(cpu_executor const& be, rows<float const> x, rows<float> y) {
    each_row(be, x.size, x.width, [&](std::size_t t) {
        float const* const from = x[t];
        float* const to = y[t];
        float const squares = sum_of(x.width, [&](std::size_t i, std::size_t count) { return load(from + i, count) * load(from + i, count); });
        batch const scale = broadcast(1 / (std::sqrt(squares / static_cast<float>(x.width)) + 1e-8f));
        each_vector(x.width, [&](std::size_t i, std::size_t count) { store(to + i, load(from + i, count) * scale, count); });
    });
}

}  // namespace kernel

/// LayerNorm in each of `groups` equal runs of channels: y = (x - mean) / sqrt(variance + eps) * weight + bias. y may be x.
template <class Weight, std::size_t D>
void layer_norm(simd<Weight> const& be, vector<Weight const, D> weight, vector<Weight const, D> bias, as<sequence<float const, D>> x,
                as<sequence<float, D>> y, float eps = 1e-5f, std::size_t groups = 1) {
    kernel::layer_norm(be, weight.data, bias.data, x, y, eps, groups);
}

/// y = x / (||x|| / sqrt(D) + 1e-8). y may be x.
template <class Weight, std::size_t D>
void rms_norm(simd<Weight> const& be, as<sequence<float const, D>> x, sequence<float, D> y) {
    kernel::rms_norm(be, x, y);
}

}  // namespace GOLDFINCH_ISA
}  // namespace goldfinch
