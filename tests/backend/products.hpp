// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <cstring>
#include <initializer_list>
#include <random>
#include <vector>

#include <goldfinch/backend/cpu.hpp>
#include <goldfinch/backend/simd/vec.hpp>

// What the tests of the matrix operations share.

namespace products {

namespace gf = goldfinch;
using sizes = std::initializer_list<std::size_t>;

/// n values in (-1, 1), `offset` elements behind an aligned address, in a vector of their own.
template <class T>
struct values {
    gf::aligned_vector<T> storage;
    std::size_t offset;

    values(std::size_t n, std::size_t at, unsigned seed) : storage(n + at), offset(at) {
        std::mt19937 engine(seed);
        for (T& x : storage) x = static_cast<T>(static_cast<float>(engine() % 20001) / 10000.0f - 1.0f);
    }
    T* data() { return storage.data() + offset; }
    T const* data() const { return storage.data() + offset; }
    float operator[](std::size_t i) const { return static_cast<float>(storage[offset + i]); }
};

/// The backend with some threads.
template <class Weight>
struct workplace {
    gf::cpu_runtime runtime;
    gf::cpu_runtime::lease lease;
    gf::simd<Weight> be;
    explicit workplace(std::size_t threads) : runtime(threads), lease(runtime), be(lease.executor()) {}
};

/// Float32 sums of up to a few thousand products are held to this share of the sum of magnitudes.
inline constexpr double bound = 3e-6;

template <class T>
std::vector<double> to_double(T const* p, std::size_t n) {
    std::vector<double> out(n);
    for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<double>(static_cast<float>(p[i]));
    return out;
}

/// Runs a product y [tokens, out] = x [tokens, depth] times weights, where weight(k, o) is the index of an input's weight for an output,
/// with 1 and 2 threads on misaligned, strided data; true if both agree bit for bit, hold the bound, and touch nothing else.
/// multiply(be, w, x, x_stride, y, y_stride) is what is tested.
template <class Weight, class Index, class Multiply>
bool holds(std::size_t depth, std::size_t out, std::size_t tokens, std::size_t offset, Index const& weight, Multiply const& multiply) {
    static workplace<Weight> one(1), two(2);
    std::size_t const x_stride = depth + offset % 3, y_stride = out + offset % 5;
    values<Weight> const w(depth * out, offset, 1);
    values<float> const x(tokens * x_stride, offset + 2, 2);
    values<float> y(tokens * y_stride, offset + 1, 3), z = y;
    values<float> const before = y;
    multiply(one.be, w.data(), x.data(), x_stride, y.data(), y_stride);
    multiply(two.be, w.data(), x.data(), x_stride, z.data(), y_stride);
    if (std::memcmp(y.storage.data(), z.storage.data(), y.storage.size() * sizeof(float)) != 0) return false;
    for (std::size_t t = 0; t < tokens; ++t)
        for (std::size_t o = 0; o < y_stride; ++o) {
            std::size_t const i = t * y_stride + o;
            double sum = 0, size = 0;
            for (std::size_t k = 0; o < out && k < depth; ++k) {
                double const p = static_cast<double>(w[weight(k, o)]) * static_cast<double>(x[t * x_stride + k]);
                sum += p;
                size += std::abs(p);
            }
            if (o < out ? !(std::abs(static_cast<double>(y[i]) - sum) <= bound * size) : y[i] != before[i]) return false;
        }
    return true;
}

}  // namespace products
