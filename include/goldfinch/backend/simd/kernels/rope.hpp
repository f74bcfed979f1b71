// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <math.h>

#include <goldfinch/backend/simd/kernels/loops.hpp>

namespace goldfinch {
inline namespace GOLDFINCH_TARGET {
namespace kernel {

struct turn {
    double cosine, sine;
};
GOLDFINCH_INLINE turn turn_by(double angle) { return {::cos(angle), ::sin(angle)}; }
GOLDFINCH_INLINE turn operator*(turn a, turn b) { return {a.cosine * b.cosine - a.sine * b.sine, a.cosine * b.sine + a.sine * b.cosine}; }

/// Turns pair (2i, 2i + 1) of every head of n channels by p / rescale * base^(-2i/n), where the first row's position p is `position`.
/// Angles are double: a float cannot tell position 20,000,001 from the one before. Sine and cosine are evaluated at the start of a run
/// of rows and then turned by one position a row.
inline void rope(cpu_executor const& at, rows<float> x, std::size_t n, std::size_t position, double base, double rescale) {
    constexpr std::size_t run = 64;
    parallel(threads_for(at, x.size * x.width), ceil_div(x.size, run), [&](cpu_executor const& alone, std::size_t block) {
        std::size_t const first = block * run, last = min(x.size, first + run);
        temporaries memory(alone);
        auto* const now = memory.array<turn>(n / 2);
        auto* const step = memory.array<turn>(n / 2);
        auto* const cosine = memory.array<float>(n);
        auto* const sine = memory.array<float>(n);
        double const ratio = ::pow(base, -2 / static_cast<double>(n));
        double frequency = 1 / rescale;
        for (std::size_t i = 0; i < n / 2; ++i, frequency *= ratio) {
            now[i] = turn_by(static_cast<double>(position + first) * frequency);
            step[i] = last - first > 1 ? turn_by(frequency) : turn{1, 0};
        }
        for (std::size_t t = first; t < last; ++t) {
            for (std::size_t i = 0; i < n / 2; ++i) {
                cosine[2 * i] = cosine[2 * i + 1] = static_cast<float>(now[i].cosine);
                sine[2 * i] = static_cast<float>(-now[i].sine);
                sine[2 * i + 1] = static_cast<float>(now[i].sine);
                now[i] = now[i] * step[i];
            }
            for (float* head = x[t]; head < x[t] + x.width; head += n)
                each_vector(n, [&](std::size_t i, std::size_t count) {
                    vec const z = load(head + i, count);
                    store(head + i, multiply_add(z, load(cosine + i, count), swap_pairs(z) * load(sine + i, count)), count);
                });
        }
    });
}

}  // namespace kernel
}  // namespace GOLDFINCH_TARGET
}  // namespace goldfinch
