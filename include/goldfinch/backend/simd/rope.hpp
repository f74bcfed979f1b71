// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <utility>

#include <goldfinch/backend/simd/rows.hpp>

namespace goldfinch {
inline namespace GOLDFINCH_ISA {
namespace kernel {

/// Lanes 2i and 2i+1 change places.
GOLDFINCH_INLINE batch swap_pairs(batch x) {
#if defined(__AVX512F__)
    return batch(_mm512_permute_ps(x, 0xb1));
#elif defined(__AVX__)
    return batch(_mm256_permute_ps(x, 0xb1));
#elif defined(__SSE2__)
    return batch(_mm_shuffle_ps(x, x, 0xb1));
#elif defined(__aarch64__)
    return batch(vrev64q_f32(x));
#else
    alignas(alignment) float wide[lanes];
    x.store_aligned(wide);
    for (std::size_t i = 0; i < lanes; i += 2) std::swap(wide[i], wide[i + 1]);
    return batch::load_aligned(wide);
#endif
}

/// Angles are double: a float cannot tell position 20,000,001 from the one before. Sine and cosine are evaluated at the start
/// of a run of rows and then turned by one position a row.
inline void rope(cpu_executor const& be, rows<float> x, std::size_t n, std::size_t position, double base, double rescale) {
    constexpr std::size_t run = 64;
    parallel(threads_for(be, x.size * x.width), (x.size + run - 1) / run, [&](cpu_executor const& at, std::size_t block) {
        std::size_t const first = block * run, last = std::min(x.size, first + run);
        temporaries scratch(at);
        auto* const turn = scratch.array<std::complex<double>>(n / 2);
        auto* const step = scratch.array<std::complex<double>>(n / 2);
        auto* const cosine = scratch.array<float>(n);
        auto* const sine = scratch.array<float>(n);
        double const ratio = std::pow(base, -2 / static_cast<double>(n));
        double frequency = 1 / rescale;
        for (std::size_t i = 0; i < n / 2; ++i, frequency *= ratio) {
            turn[i] = std::polar(1.0, static_cast<double>(position + first) * frequency);
            step[i] = last - first > 1 ? std::polar(1.0, frequency) : 1.0;
        }
        for (std::size_t t = first; t < last; ++t) {
            for (std::size_t i = 0; i < n / 2; ++i) {
                double const c = turn[i].real(), s = turn[i].imag();
                cosine[2 * i] = cosine[2 * i + 1] = static_cast<float>(c);
                sine[2 * i] = static_cast<float>(-s);
                sine[2 * i + 1] = static_cast<float>(s);
                turn[i] = {c * step[i].real() - s * step[i].imag(), c * step[i].imag() + s * step[i].real()};
            }
            for (float* head = x[t]; head < x[t] + x.width; head += n)
                each_vector(n, [&](std::size_t i, std::size_t count) {
                    batch const z = load(head + i, count);
                    store(head + i, multiply_add(z, load(cosine + i, count), swap_pairs(z) * load(sine + i, count)), count);
                });
        }
    });
}

}  // namespace kernel

/// Rotary embedding of every head of N channels, in place: pair (2i, 2i+1) of the row at position p turns by
/// p / rescale * base^(-2i/N). `position` is the first row's.
template <std::size_t N, class Weight, std::size_t D>
void rope(simd<Weight> const& be, sequence<float, D> x, std::size_t position, double base, double rescale) {
    static_assert(N % 2 == 0 && D % N == 0, "goldfinch: rope turns pairs of channels in heads of N");
    kernel::rope(be, x, N, position, base, rescale);
}

}  // namespace GOLDFINCH_ISA
}  // namespace goldfinch
