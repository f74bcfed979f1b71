// SPDX-License-Identifier: Apache-2.0
// linear against the limit that binds it: weights read a second over the measured read bandwidth for few tokens, FLOP a second
// over the measured peak for many (and over the rate of products in tiles, where there is AMX), and Eigen's sgemm for the same product.

#include <algorithm>
#include <chrono>
#include <type_traits>

#include <benchmark/benchmark.h>

#include <goldfinch/backend/simd.hpp>

#include <Eigen/Core>

#include "limits.hpp"

namespace gf = goldfinch;

namespace {

/// Seconds of one call of f: the best of a few, since other programs may be at work.
template <class F>
double best_time(int repeats, F const& f) {
    double best = 1e30;
    for (int i = 0; i < repeats; ++i) {
        auto const start = std::chrono::steady_clock::now();
        f();
        best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    return best;
}

// Arguments: out, in, tokens, threads.
template <class Weight>
void linear(benchmark::State& state) {
    auto const argument = [&](int i) { return static_cast<std::size_t>(state.range(i)); };
    std::size_t const out = argument(0), in = argument(1), tokens = argument(2), threads = argument(3);
    gf::cpu_runtime runtime(threads);
    gf::cpu_runtime::lease const lease(runtime);
    gf::simd<Weight> const be(lease.executor());

    // Few tokens: one matrix after another, together far larger than the caches, as in a model.
    std::size_t const copies = tokens > gf::kernel::few_rows ? 1 : (std::size_t{256} << 20) / (out * in * sizeof(Weight)) + 1;
    gf::aligned_vector<Weight> w(copies * out * in, Weight(0.01f));
    gf::aligned_vector<float> x(tokens * in, 0.5f), y(tokens * out);
    std::size_t copy = 0;
    double best = 1e30;
    for (auto _ : state) {
        Weight const* const matrix = w.data() + copy++ % copies * out * in;
        best = std::min(best, best_time(1, [&] { gf::kernel::linear(be, matrix, {x.data(), tokens, in, in}, {y.data(), tokens, out, out}); }));
    }
    double const flops = 2.0 * static_cast<double>(out * in * tokens), bytes = static_cast<double>(out * in * sizeof(Weight));
    state.counters["GFLOP/s"] = flops / best * 1e-9;
    state.counters["GB/s"] = bytes / best * 1e-9;
    if (tokens <= gf::kernel::few_rows) {
        state.counters["of_bandwidth"] = bytes / best / limits::read_bandwidth(threads);
    } else {
        state.counters["of_peak"] = flops / best / limits::fma_peak(threads);
#if GOLDFINCH_AMX
        if (std::is_same_v<Weight, gf::bf16> && tokens > gf::kernel::few_rows) state.counters["of_amx"] = flops / best / limits::amx_rate(threads);
#endif
        if (threads == 1) {
            using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
            auto const index = [](std::size_t n) { return static_cast<Eigen::Index>(n); };
            matrix const a = matrix::Constant(index(tokens), index(in), 0.5f), b = matrix::Constant(index(out), index(in), 0.01f);
            matrix c(index(tokens), index(out));
            state.counters["eigen_time_ratio"] = best_time(5, [&] { c.noalias() = a * b.transpose(); }) / best;
        }
    }
}

void shapes(benchmark::internal::Benchmark* b) {
    for (long threads : {1, 2}) {
        for (long tokens : {1, 2, 4, 8}) b->Args({2688, 768, tokens, threads});
        for (long tokens : {1, 4}) b->Args({2048, 2048, tokens, threads})->Args({65536, 768, tokens, threads});
        b->Args({768, 768, 1, threads})->Args({768, 2688, 1, threads});
        for (long tokens : {9, 16, 64, 512}) b->Args({768, 768, tokens, threads});
        b->Args({768, 816, 64, threads})->Args({48, 768, 512, threads});
        b->Args({2688, 768, 512, threads})->Args({768, 2688, 512, threads})->Args({2048, 2048, 512, threads});
    }
}

}  // namespace

BENCHMARK(linear<float>)->Apply(shapes)->Unit(benchmark::kMicrosecond)->UseRealTime()->MinTime(0.2);
BENCHMARK(linear<gf::bf16>)->Apply(shapes)->Unit(benchmark::kMicrosecond)->UseRealTime()->MinTime(0.2);
BENCHMARK_MAIN();
