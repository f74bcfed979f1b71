// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <map>
#include <random>
#include <utility>

#include <benchmark/benchmark.h>
#include <goldfinch/backend/simd.hpp>

#include "limits.hpp"

// What the benchmarks of row operations share.

namespace gf = goldfinch;

/// A backend on threads of its own.
template <class Weight = gf::bf16>
struct on {
    explicit on(std::size_t threads) : runtime(threads) {}
    gf::cpu_runtime runtime;
    gf::cpu_runtime::lease lease{runtime};
    gf::simd<Weight> be{lease.executor()};
};

template <class T = float>
gf::aligned_vector<T> random_values(std::size_t n) {
    static std::mt19937 engine(7);
    std::normal_distribution<float> normal;
    gf::aligned_vector<T> v(n);
    for (auto& x : v) x = T(normal(engine));
    return v;
}

/// Bytes a second at which threads read a working set of this size again and again: the bandwidth of the level it lives in.
inline double level_bandwidth(std::size_t threads, std::size_t bytes) {
    static std::map<std::pair<std::size_t, std::size_t>, double> known;
    double& result = known[{threads, bytes}];
    if (result == 0) {
        gf::aligned_vector<float> const memory(bytes / sizeof(float), 1.0f);
        std::size_t const share = memory.size() / threads, rounds = (std::size_t{1} << 28) / bytes + 1;
        static std::atomic<float> sink;
        double const s = limits::seconds(threads, 5, [&](std::size_t i) {
            float total = 0;
            for (std::size_t r = 0; r < rounds; ++r) {
                auto const* p = memory.data() + i * share;
                benchmark::DoNotOptimize(p);
                total += limits::read_all(p, share);
            }
            sink = total;
        });
        result = static_cast<double>(bytes * rounds) / s;
    }
    return result;
}

/// Reports bytes read and written an iteration, and their share of the bandwidth of the level they live in.
inline void report_bytes(benchmark::State& state, std::size_t threads, std::size_t bytes) {
    double const total = static_cast<double>(bytes) * static_cast<double>(state.iterations());
    state.counters["bytes/s"] = benchmark::Counter(total, benchmark::Counter::kIsRate);
    state.counters["of_bandwidth"] = benchmark::Counter(total / level_bandwidth(threads, bytes), benchmark::Counter::kIsRate);
}

/// Reports floating-point operations an iteration, and their share of the measured peak.
inline void report_flops(benchmark::State& state, std::size_t threads, double flops) {
    double const total = flops * static_cast<double>(state.iterations());
    state.counters["FLOP/s"] = benchmark::Counter(total, benchmark::Counter::kIsRate);
    state.counters["of_peak"] = benchmark::Counter(total / limits::fma_peak(threads), benchmark::Counter::kIsRate);
}

/// Parameters of layer norms, random.
template <std::size_t D>
struct random_norm {
    gf::aligned_vector<gf::bf16> const weight = random_values<gf::bf16>(D), bias = random_values<gf::bf16>(D);
    operator gf::norm_weights<gf::bf16 const, D>() const { return {{weight.data()}, {bias.data()}}; }
};

/// Decode on one thread, pre-fill on one and two: (tokens, threads).
inline void shapes(benchmark::internal::Benchmark* b) {
    b->ArgNames({"T", "threads"})->Args({1, 1})->Args({512, 1})->Args({512, 2})->UseRealTime();
}

/// f(backend, x, y) over rows of D channels; `touched` rows of floats are read or written a token. x is normal around `centre`.
template <std::size_t D, class F>
void time_rows(benchmark::State& state, std::size_t touched, F const& f, float centre = 0) {
    auto const tokens = static_cast<std::size_t>(state.range(0)), threads = static_cast<std::size_t>(state.range(1));
    on<> here(threads);
    auto x = random_values(tokens * D), y = random_values(tokens * D);
    for (float& z : x) z += centre;
    gf::sequence<float, D> const from{x.data(), tokens}, to{y.data(), tokens};
    for (auto _ : state) {
        f(here.be, from, to);
        benchmark::ClobberMemory();
    }
    report_bytes(state, threads, touched * tokens * D * sizeof(float));
}
