// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <map>
#include <thread>
#include <vector>

#include <goldfinch/backend/simd.hpp>

// What this machine can do at best, measured in the same process as the benchmark that refers to it.

namespace limits {

namespace gf = goldfinch;

/// The shortest of `repeats` wall times of f(thread) on n threads that start together, in seconds.
template <class F>
double seconds(std::size_t threads, int repeats, F const& f) {
    using clock = std::chrono::steady_clock;
    gf::thread_pool pool(threads);
    double best = 1e30;
    for (int i = 0; i < repeats; ++i) {
        std::atomic<std::size_t> here{0};
        clock::time_point start{};
        // Each index waits for all others, so every worker gets one, and the clock starts when the last one is there.
        pool.run(threads, [&](std::size_t index, std::size_t) {
            if (here.fetch_add(1) + 1 == threads) {
                start = clock::now();
                here.fetch_add(1);
            }
            while (here.load() <= threads) {
            }
            f(index);
        });
        best = std::min(best, std::chrono::duration<double>(clock::now() - start).count());
    }
    return best;
}

/// Sums n floats: a plain read loop.
inline float read_all(float const* p, std::size_t n) {
    namespace k = gf::kernel;
    constexpr std::size_t step = 8 * k::lanes;
    k::vec sums[8];
    GOLDFINCH_UNROLL
    for (k::vec& sum : sums) sum = k::broadcast(0);
    for (std::size_t i = 0; i + step <= n; i += step) {
        GOLDFINCH_UNROLL
        for (std::size_t j = 0; j < 8; ++j) sums[j] = sums[j] + k::load(p + i + j * k::lanes);
    }
    float total = 0;
    GOLDFINCH_UNROLL
    for (k::vec const& sum : sums) total += k::sum(sum);
    return total;
}

/// Memory read bandwidth, bytes a second: a plain read loop over pieces of 512 MB, far more than any cache here. The best of short
/// pieces, as is the peak below, so that other programs at work do not lower the limit.
inline double read_bandwidth(std::size_t threads) {
    static std::map<std::size_t, double> known;
    if (double& result = known[threads]; result == 0) {
        static gf::aligned_vector<float> const memory(std::size_t{128} << 20, 1.0f);
        constexpr std::size_t piece = std::size_t{2} << 20;
        static std::atomic<float> sink;
        for (int round = 0; round < 3; ++round)
            for (std::size_t at = 0; at + threads * piece <= memory.size(); at += threads * piece) {
                double const s = seconds(threads, 1, [&](std::size_t i) { sink = read_all(memory.data() + at + i * piece, piece); });
                result = std::max(result, static_cast<double>(threads * piece * sizeof(float)) / s);
            }
    }
    return known[threads];
}

/// Peak rate of float32 multiply-add, FLOP a second (a multiply-add counts 2), from registers alone.
inline double fma_peak(std::size_t threads) {
    static std::map<std::size_t, double> known;
    if (double& result = known[threads]; result == 0) {
        namespace k = gf::kernel;
        constexpr std::size_t chains = 12, rounds = 50'000;
        static std::atomic<float> sink;
        double const s = seconds(threads, 200, [&](std::size_t) {
            k::vec const a = k::broadcast(0.999f), b = k::broadcast(0.5f);
            k::vec x[chains];
            GOLDFINCH_UNROLL
            for (std::size_t j = 0; j < chains; ++j) x[j] = k::broadcast(static_cast<float>(j));
            for (std::size_t i = 0; i < rounds; ++i) {
                GOLDFINCH_UNROLL
                for (std::size_t j = 0; j < chains; ++j) x[j] = xsimd::fma(x[j], a, b);
            }
            float total = 0;
            GOLDFINCH_UNROLL
            for (k::vec const& sum : x) total += k::sum(sum);
            sink = total;
        });
        result = static_cast<double>(threads * chains * rounds * k::lanes * 2) / s;
    }
    return known[threads];
}

}  // namespace limits
