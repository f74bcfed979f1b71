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
#include <goldfinch/backend/cpu.hpp>
#include <goldfinch/backend/simd/select.hpp>
#include <goldfinch/batch.hpp>

#include "../rounding.hpp"

// What the tests of kernels share: the tables of all instruction sets that this machine has, and data at every alignment, stride and odd
// size. What kernels compute is written out in double beside each test.

namespace gf = goldfinch;
using gf::detail::kernel_table;
using gf::detail::rows;
using counts = std::initializer_list<std::size_t>;

/// More lanes than any set has: widths up to twice that meet every remainder.
inline constexpr std::size_t most_lanes = 16;

#if defined(GOLDFINCH_DISPATCH)
/// f(table) for every instruction set that this program holds and the CPU has.
template <class F>
void each_set(F const& f) {
    for (gf::detail::held_set const* held = gf::detail::held_sets; held->name != nullptr; ++held)
        if (gf::detail::cpu_has(held->name)) {
            CAPTURE(held->name);
            f(held->table());
        }
}
template <class T>
gf::detail::weight_kernels<T> const& weights(kernel_table const& table) {
    return gf::detail::weight_kernels_of<T>(table);
}
template <class Value>
gf::detail::value_kernels<Value> const& values(kernel_table const& table) {
    return gf::detail::value_kernels_of<Value>(table);
}
#endif

/// Rows up to which a product computes each as if it were alone.
inline constexpr std::size_t few_rows = 2 * gf::detail::few_tokens;

/// An executor with threads of its own.
struct on {
    explicit on(std::size_t threads = 1) : runtime(threads) {}
    gf::cpu_runtime runtime;
    gf::cpu_runtime::lease lease{runtime};
    gf::cpu_executor const& be = lease.executor();
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
    operator ::rows<T>() { return {(*this)[0], size_, stride_, width_}; }
    operator ::rows<T const>() const { return {(*this)[0], size_, stride_, width_}; }
    ::rows<T> part(std::size_t first, std::size_t n) { return {(*this)[first], n, stride_, width_}; }
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
    for (std::size_t width = 1; width <= 2 * most_lanes + 3; ++width)
        for (std::size_t offset : counts{0, 1, 3})
            for (std::size_t gap : counts{0, 5})
                for (std::size_t size : counts{0, 1, 3}) f(layout{size, width, offset, gap});
}

/// The largest difference from what `expected(t, i)` says in double, relative to 1 + `magnitude(t, i)`. NaN counts as infinity.
template <class F, class G>
double error(field<float> const& y, F const& expected, G const& magnitude) {
    double worst = 0;
    for (std::size_t t = 0; t < y.size(); ++t)
        for (std::size_t i = 0; i < y.width(); ++i) {
            double const difference = std::abs(static_cast<double>(y[t][i]) - expected(t, i)) / (1 + magnitude(t, i));
            worst = std::max(worst, std::isnan(difference) ? std::numeric_limits<double>::infinity() : difference);
        }
    return worst;
}

/// The same relative to 1 + |expected|.
template <class F>
double error(field<float> const& y, F const& expected) {
    return error(y, expected, [&](std::size_t t, std::size_t i) { return std::abs(expected(t, i)); });
}

/// The rows before each row of x: those above them, and `prev` above the first row of every sequence. `first` as in state_rows.
inline std::vector<float const*> rows_before(field<float> const& x, field<float> const& prev, std::vector<std::size_t> const& first) {
    std::vector<float const*> before(x.size());
    for (std::size_t s = 0; s + 1 < first.size(); ++s)
        for (std::size_t t = first[s]; t < first[s + 1]; ++t) before[t] = t == first[s] ? prev[s] : x[t - 1];
    return before;
}

// Matrix products.

/// Float32 sums of up to a few thousand products are held to this share of the sum of magnitudes.
inline constexpr double product_bound = 3e-6;

/// What AMX products round a float to: the sum of two bf16.
struct two_parts {
    float value;
    explicit two_parts(float x) : value(gf::bf16(x)) { value += gf::bf16(x - value); }
    operator float() const { return value; }
};

/// Runs a product y [tokens, out] = x [tokens, depth] times weights, where weight(k, o) is the index of an input's weight for an output,
/// with 1, 2 and 3 threads on misaligned, strided data; true if all agree bit for bit, hold the bound, and touch nothing else.
/// multiply(at, w, x, y) is what is tested; Rounded: what it may round x to first; in `zeros`: x is zero in two of three channels, but for some
/// tokens.
template <class T, class Rounded = float, class Index, class Multiply>
bool product_holds(std::size_t depth, std::size_t out, std::size_t tokens, std::size_t offset, Index const& weight, Multiply const& multiply,
                   bool zeros = false) {
    static on one(1), two(2), three(3);
    offset %= 16;
    field<T> const w({1, depth * out, offset}, 0.5f);
    field<float> x({tokens, depth, offset + 2, offset % 3}, 0.5f);
    for (std::size_t t = 0; zeros && t < tokens; ++t)
        for (std::size_t k = 0; k < depth; ++k)
            if (k % 3 != 0 && (t + k) % 5 != 1) x[t][k] = k % 2 == 0 ? 0.0f : -0.0f;
    field<float> y({tokens, out, offset + 1, offset % 5});
    field<float> z = y, z3 = y;
    multiply(one.be, w[0], x, y);
    multiply(two.be, w[0], x, z);
    multiply(three.be, w[0], x, z3);
    if (!(y == z) || !(y == z3) || !y.guards_intact()) return false;
    for (std::size_t t = 0; t < tokens; ++t)
        for (std::size_t o = 0; o < out; ++o) {
            double sum = 0, size = 0;
            for (std::size_t k = 0; k < depth; ++k) {
                double const p =
                    static_cast<double>(static_cast<float>(w[0][weight(k, o)])) * static_cast<double>(static_cast<float>(Rounded(x[t][k])));
                sum += p;
                size += std::abs(p);
            }
            if (!(std::abs(static_cast<double>(y[t][o]) - sum) <= product_bound * size)) return false;
        }
    return true;
}
