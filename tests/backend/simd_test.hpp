// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <random>
#include <vector>

#include <doctest/doctest.h>
#include <goldfinch/backend/reference.hpp>
#include <goldfinch/backend/simd.hpp>

// What the tests of SIMD operations share: data at every alignment, stride and odd size, and the oracle beside it.

namespace gf = goldfinch;
using counts = std::initializer_list<std::size_t>;

/// A backend on threads of its own.
template <class Backend>
struct on {
    explicit on(std::size_t threads = 1) : runtime(threads) {}
    gf::cpu_runtime runtime;
    gf::cpu_runtime::lease lease{runtime};
    Backend be{lease.executor()};
};

inline float random_normal() {
    static std::mt19937 engine(7);
    static std::normal_distribution<float> normal;
    return normal(engine);
}

/// How rows lie in memory: `offset` elements after an aligned address, `gap` elements between rows.
struct layout {
    std::size_t size, width, offset = 0, gap = 0;
};

/// Rows of random numbers, with guards before, between and behind them.
template <class T>
class field {
public:
    explicit field(layout const& l, float scale = 1)
        : width_(l.width), size_(l.size), offset_(l.offset), stride_(l.width + l.gap), memory_(l.offset + l.size * stride_ + 32, T(guard)) {
        for (std::size_t t = 0; t < size_; ++t)
            for (std::size_t i = 0; i < width_; ++i) (*this)[t][i] = T(scale * random_normal());
    }
    T* operator[](std::size_t t) { return memory_.data() + offset_ + t * stride_; }
    T const* operator[](std::size_t t) const { return memory_.data() + offset_ + t * stride_; }
    gf::kernel::rows<T> rows() { return {(*this)[0], size_, stride_, width_}; }
    template <std::size_t D>
    gf::sequence<T, D> sequence() { return {(*this)[0], size_, stride_}; }
    std::size_t size() const { return size_; }
    std::size_t width() const { return width_; }

    bool guards_intact() const {
        for (std::size_t i = 0; i < memory_.size(); ++i) {
            std::size_t const at = i - offset_;
            bool const data = i >= offset_ && at < size_ * stride_ && at % stride_ < width_;
            if (!data && static_cast<float>(memory_[i]) != guard) return false;
        }
        return true;
    }
    bool operator==(field const& other) const { return std::memcmp(memory_.data(), other.memory_.data(), memory_.size() * sizeof(T)) == 0; }

private:
    static constexpr float guard = 99;
    std::size_t width_, size_, offset_, stride_;
    gf::aligned_vector<T> memory_;
};

/// f(layout) for every remainder below two vectors and more, some alignments and strides, and no row, one or three.
template <class F>
void each_layout(F const& f) {
    for (std::size_t width = 1; width <= 2 * gf::kernel::lanes + 3; ++width)
        for (std::size_t offset : counts{0, 1, 3})
            for (std::size_t gap : counts{0, 5})
                for (std::size_t size : counts{0, 1, 3}) f(layout{size, width, offset, gap});
}

/// The largest difference from what `expected(t, i)` says in double, relative to 1 + |expected|. NaN counts as infinity.
template <class F>
double error(field<float> const& y, F const& expected) {
    double worst = 0;
    for (std::size_t t = 0; t < y.size(); ++t)
        for (std::size_t i = 0; i < y.width(); ++i) {
            double const e = expected(t, i), difference = std::abs(static_cast<double>(y[t][i]) - e) / (1 + std::abs(e));
            worst = std::max(worst, std::isnan(difference) ? std::numeric_limits<double>::infinity() : difference);
        }
    return worst;
}

/// The same numbers in double, packed, as the oracle takes them.
template <std::size_t D>
class in_double {
public:
    template <class T>
    explicit in_double(field<T> const& x) : size_(x.size()), values_(size_ * D) {
        for (std::size_t t = 0; t < size_; ++t)
            for (std::size_t i = 0; i < D; ++i) values_[t * D + i] = static_cast<double>(static_cast<float>(x[t][i]));
    }
    gf::sequence<double, D> sequence() { return {values_.data(), size_}; }
    gf::vector<double, D> vector() { return {values_.data()}; }
    double* data() { return values_.data(); }
    double operator()(std::size_t t, std::size_t i) const { return values_[t * D + i]; }

private:
    std::size_t size_;
    std::vector<double> values_;
};
