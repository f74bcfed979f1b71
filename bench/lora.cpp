// SPDX-License-Identifier: Apache-2.0
// The low-rank products against the limits: FLOP a second over the measured peak, and for one token weights read a second over the
// measured read bandwidth (they lie in cache here, where the next layer's would come from memory: above 1 is possible).

#include <algorithm>
#include <chrono>

#include <benchmark/benchmark.h>

#include <goldfinch/backend/simd.hpp>

#include "limits.hpp"

namespace gf = goldfinch;

namespace {

constexpr std::size_t D = 768, R = 160;
using weight = gf::bf16;

/// Runs f(backend, x, h, y) with `tokens` rows and reports multiply-adds `flops` a token.
template <class F>
void run(benchmark::State& state, double flops, F const& f) {
    auto const tokens = static_cast<std::size_t>(state.range(0)), threads = static_cast<std::size_t>(state.range(1));
    gf::cpu_runtime runtime(threads);
    gf::cpu_runtime::lease const lease(runtime);
    gf::simd<weight> const be(lease.executor());
    gf::aligned_vector<float> x(tokens * D, 0.5f), h(tokens * R, 0.5f), y(tokens * D, 0.5f);
    double best = 1e30;
    for (auto _ : state) {
        auto const start = std::chrono::steady_clock::now();
        f(be, gf::sequence<float, D>{x.data(), tokens}, gf::sequence<float, R>{h.data(), tokens}, gf::sequence<float, D>{y.data(), tokens});
        best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    double const rate = flops * static_cast<double>(tokens) / best;
    state.counters["GFLOP/s"] = rate * 1e-9;
    state.counters["of_peak"] = rate / limits::fma_peak(threads);
    if (tokens == 1) state.counters["of_bandwidth"] = flops / 2 * sizeof(weight) / best / limits::read_bandwidth(threads);
}

gf::aligned_vector<weight> const w(D * R, weight(0.01f));
gf::aligned_vector<float> before(D);

void lora_down(benchmark::State& state) {
    run(state, 2.0 * D * R, [](auto const& be, auto x, auto h, auto) { gf::lora_down(be, x, gf::matrix<weight const, D, R>{w.data()}, h); });
}
void lora_up(benchmark::State& state) {
    run(state, 2.0 * D * 64, [](auto const& be, auto, auto h, auto y) {
        gf::lora_up(be, h.template channels<0, 64>(), gf::matrix<weight const, 64, D>{w.data()}, y);
    });
}
void token_shift(benchmark::State& state) {
    run(state, 2.0 * D * 32, [](auto const& be, auto x, auto h, auto y) {
        gf::single<float> const sequence(before.data(), x.size, 0);
        gf::token_shift(be, x, sequence.template state<gf::simd<weight>, D>(), h.template channels<0, 32>(), gf::matrix<weight const, 32, D>{w.data()},
                        {w.data()}, y);
    });
}

void shapes(benchmark::internal::Benchmark* b) {
    b->ArgsProduct({{1, 9, 64, 512}, {1, 2}})->Unit(benchmark::kMicrosecond)->UseRealTime()->MinTime(0.1);
}

}  // namespace

BENCHMARK(lora_down)->Apply(shapes);
BENCHMARK(lora_up)->Apply(shapes);
BENCHMARK(token_shift)->Apply(shapes);
BENCHMARK_MAIN();
