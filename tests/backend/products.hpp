// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
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

}  // namespace products
