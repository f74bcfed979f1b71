// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>
#include <goldfinch/backend/simd.hpp>

#include "arguments.hpp"
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

/// Rows [tokens, width] in memory of their own.
struct random_rows {
    random_rows(std::size_t tokens, std::size_t row_width) : width(row_width), values(random_values(tokens * row_width)) {}
    operator gf::detail::rows<float>() { return {values.data(), values.size() / width, width, width}; }
    operator gf::detail::rows<float const>() const { return {values.data(), values.size() / width, width, width}; }
    std::size_t width;
    gf::aligned_vector<float> values;
};

/// f(backend, x, y) over rows of so many channels; `touched` rows of floats are read or written a token. x is normal around `centre`.
template <class F>
void time_rows(benchmark::State& state, std::size_t touched, F const& f, float centre = 0) {
    std::size_t const width = bench::argument(state, 0), tokens = bench::argument(state, 1), threads = bench::argument(state, 2);
    on<> here(threads);
    random_rows x(tokens, width), y(tokens, width);
    for (float& z : x.values) z += centre;
    gf::detail::rows<float> const from = x, to = y;
    for (auto _ : state) {
        f(here.be, from, to);
        benchmark::ClobberMemory();
    }
    report_bytes(state, threads, touched * tokens * width * sizeof(float));
}

/// The program of a few such operations.
class row_program : bench::arguments {
public:
    row_program(std::string const& name, std::string const& what) : arguments(name, what + ", for each width, number of tokens and of threads.") {
        numbers("--width", widths_, 1, 1 << 20, "channels of a row (two sizes of each operation's models)");
        numbers("--tokens", tokens_, 1, 1 << 20, "rows (1, and 512 on 1 and 2 threads)");
        threads(threads_, "threads (the same)");
    }
    using function = void (*)(benchmark::State&);
    struct operation {
        char const* name;
        function time;
        bench::sizes widths;  // where none are given
    };
    int run(int argc, char** argv, std::vector<operation> const& operations) {
        return arguments::run(argc, argv, [&] {
            for (auto const& o : operations) {
                auto* const b = benchmark::RegisterBenchmark(o.name, o.time)->ArgNames({"width", "tokens", "threads"})->UseRealTime();
                bool const chosen = !tokens_.empty() || !threads_.empty();
                for (std::size_t const width : bench::given_or(widths_, o.widths))
                    for (std::size_t const tokens : bench::given_or(tokens_, {1, 512}))
                        for (std::size_t const threads : bench::given_or(threads_, chosen || tokens > 1 ? bench::sizes{1, 2} : bench::sizes{1}))
                            b->Args(bench::as_arguments({width, tokens, threads}));
            }
        });
    }

private:
    bench::sizes widths_, tokens_, threads_;
};
