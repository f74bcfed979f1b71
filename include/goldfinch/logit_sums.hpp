// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

// Exponentials and sums over a whole vocabulary, in double. Plain loops over blocks of constant length, which compilers turn into
// vector code at -O2 already: the standard's functions take a tenth of a decode step here.
//
// Right under -ffast-math, too: a program that compiles one of its files so may use that file's copy of these functions everywhere.
// Hence no infinities, and no steps that a compiler may reorder as if numbers were never rounded.

namespace goldfinch::detail {

/// The logit of what must not be drawn. It is below every other, and times any power it is still a number of which exp is 0.
inline constexpr double never = -0x1p800;

/// exp(x) for x <= 0, to about a unit in the last place; 0 below -708, where results would lose digits; NaN of NaN.
inline double exp_not_positive(double x) {
    // Masks rather than branches, which GCC would take and then not vectorise.
    auto const all_bits_if = [](bool holds) { return 0 - static_cast<std::uint64_t>(holds); };
    auto const masked = [](double value, std::uint64_t mask) { return std::bit_cast<double>(std::bit_cast<std::uint64_t>(value) & mask); };
    std::uint64_t const mask = all_bits_if(!(x < -708));
    // x = r - n ln 2 with |r| <= ln 2 / 2 and n >= 0. ln 2 is in two parts of which n times the first is exact; the mask between them
    // keeps -ffast-math from adding them up first.
    constexpr double per_ln2 = 1.4426950408889634, ln2_high = 0x1.62e42fefa38p-1, ln2_low = 0x1.ef35793c7673p-45;
    // Of NaN n is 0, since it has no integer. 32 bits, because SSE2 converts no others.
    auto const n = static_cast<std::int32_t>(0.5 - masked(x, all_bits_if(x >= -708)) * per_ln2);
    double const real_n = n, r = masked(x + real_n * ln2_high, mask) + real_n * ln2_low;
    double power = 1.0 / 6227020800;  // Taylor's series from 1 / 13! on
    power = power * r + 1.0 / 479001600;
    power = power * r + 1.0 / 39916800;
    power = power * r + 1.0 / 3628800;
    power = power * r + 1.0 / 362880;
    power = power * r + 1.0 / 40320;
    power = power * r + 1.0 / 5040;
    power = power * r + 1.0 / 720;
    power = power * r + 1.0 / 120;
    power = power * r + 1.0 / 24;
    power = power * r + 1.0 / 6;
    power = power * r + 0.5;
    power = power * r + 1;
    power = power * r + 1;
    return power * masked(std::bit_cast<double>(std::uint64_t{static_cast<std::uint32_t>(1023 - n)} << 52), mask);
}

/// Elements a step of the loops below.
inline constexpr std::size_t chains = 16;

/// Whether all of some numbers are finite.
inline bool all_finite(std::span<float const> x) {
    // Adding 1 to the exponent of a number that is not finite carries into the place of the sign.
    constexpr std::uint32_t magnitude = 0x7fffffff, one = 0x00800000;
    std::uint32_t carries[chains] = {};
    std::size_t i = 0;
    for (; i + chains <= x.size(); i += chains)
        for (std::size_t j = 0; j < chains; ++j) carries[j] |= (std::bit_cast<std::uint32_t>(x[i + j]) & magnitude) + one;
    for (; i < x.size(); ++i) carries[0] |= (std::bit_cast<std::uint32_t>(x[i]) & magnitude) + one;
    std::uint32_t any = 0;
    for (std::uint32_t const c : carries) any |= c;
    return any <= magnitude;
}

/// The largest of some numbers, none of them NaN; the lowest of all numbers where there are none.
template <class T>
T largest_of(std::span<T const> x) {
    T most[chains];
    std::fill_n(most, chains, std::numeric_limits<T>::lowest());
    std::size_t i = 0;
    for (; i + chains <= x.size(); i += chains)
        for (std::size_t j = 0; j < chains; ++j) most[j] = x[i + j] > most[j] ? x[i + j] : most[j];
    for (; i < x.size(); ++i) most[0] = std::max(most[0], x[i]);
    return *std::max_element(most, most + chains);
}

/// The sum of some numbers.
inline double sum_of(std::span<double const> x) {
    double sums[chains] = {};
    std::size_t i = 0;
    for (; i + chains <= x.size(); i += chains)
        for (std::size_t j = 0; j < chains; ++j) sums[j] += x[i + j];
    for (; i < x.size(); ++i) sums[0] += x[i];
    double sum = 0;
    for (double const s : sums) sum += s;
    return sum;
}

/// The sum of exp((x - largest) * power), where `largest` is that of x. On the way f(i, e, n) gets n of these numbers, those of x_i
/// and its followers.
template <class T, class F>
double sum_of_exp(std::span<T const> x, double largest, double power, F const& f) {
    double sums[chains] = {};
    for (std::size_t i = 0; i < x.size(); i += chains) {
        std::size_t const n = std::min(chains, x.size() - i);
        double e[chains];
        std::fill_n(e, chains, never);  // what is left of the last block has no part in the sum
        if (n == chains) {
            for (std::size_t j = 0; j < chains; ++j) e[j] = static_cast<double>(x[i + j]);
        } else {
            for (std::size_t j = 0; j < n; ++j) e[j] = static_cast<double>(x[i + j]);
        }
        for (double& y : e) y = exp_not_positive((y - largest) * power);
        for (std::size_t j = 0; j < chains; ++j) sums[j] += e[j];
        f(i, static_cast<double const*>(e), n);
    }
    double sum = 0;
    for (double const s : sums) sum += s;
    return sum;
}

}  // namespace goldfinch::detail
