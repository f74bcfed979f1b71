// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include <Eigen/Core>

#include "limits.hpp"

// What Eigen's float32 matrix product needs for the products of a model: what a benchmark of matrix work is held against.

namespace limits {

/// A weight matrix, and how many inputs go through it.
struct product {
    std::size_t out, in;
    double times = 1;
};

/// Multiply-adds a token, times two.
inline double flops(std::vector<product> const& products) {
    double sum = 0;
    for (auto const& p : products) sum += 2.0 * static_cast<double>(p.out * p.in) * p.times;
    return sum;
}

/// Seconds Eigen takes for [tokens, in] x [in, out] for all of these: one run of each, after one to warm up. On several threads each
/// has its part of the tokens.
inline double sgemm_seconds(std::size_t threads, std::size_t tokens, std::vector<product> const& products) {
    using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    auto const index = [](std::size_t n) { return static_cast<Eigen::Index>(n); };
    double sum = 0;
    for (auto const& p : products) {
        matrix const w = matrix::Constant(index(p.out), index(p.in), 0.01f), x = matrix::Constant(index(tokens / threads), index(p.in), 0.5f);
        std::vector<matrix> y(threads, matrix(index(tokens / threads), index(p.out)));
        auto const multiply = [&](std::size_t i) { y[i].noalias() = x * w.transpose(); };
        seconds(threads, 1, multiply);
        sum += p.times * seconds(threads, 1, multiply);
    }
    return sum;
}

}  // namespace limits
