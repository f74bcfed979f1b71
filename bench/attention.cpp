// SPDX-License-Identifier: Apache-2.0
// attend over tiles of 64 keys against the limit that binds it: keys and values read a second over the measured read bandwidth for
// one query, FLOP a second over the measured peak for many (4 D a query and key; exponentials are not counted).

#include <algorithm>
#include <chrono>

#include <benchmark/benchmark.h>

#include <goldfinch/backend/simd.hpp>

#include "limits.hpp"

namespace gf = goldfinch;

namespace {

// Arguments: queries, keys in memory. One thread: the cache gives tiles to threads.
template <class Value>
void attend(benchmark::State& state) {
    constexpr std::size_t H = 12, A = 768, tile = 64;
    auto const queries = static_cast<std::size_t>(state.range(0)), keys = static_cast<std::size_t>(state.range(1));
    gf::cpu_runtime runtime(1);
    gf::cpu_runtime::lease const lease(runtime);
    gf::simd<gf::bf16> const be(lease.executor());
    gf::aligned_vector<float> q(queries * A, 0.5f), value(queries * A), max(queries * H), total(queries * H);
    gf::aligned_vector<Value> const k(keys * A, Value(0.1f)), v(keys * A, Value(0.2f));
    gf::detail::attention_sums<float> const sums{{max.data(), queries, H, H}, {total.data(), queries, H, H}, {value.data(), queries, A, A}};
    double best = 1e30;
    for (auto _ : state) {
        gf::clear_sums(be, sums);
        for (std::size_t j = 0; j < keys; j += tile) {
            auto const start = std::chrono::steady_clock::now();
            gf::attend_tile(be, {q.data(), queries}, keys + 1 - j, gf::sequence<Value const, A>{k.data() + j * A, tile}, {v.data() + j * A, tile}, sums);
            best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
        }
    }
    double const flops = 4.0 * static_cast<double>(queries * tile * A), bytes = 2.0 * static_cast<double>(tile * A * sizeof(Value));
    state.counters["GFLOP/s"] = flops / best * 1e-9;
    state.counters["of_peak"] = flops / best / limits::fma_peak(1);
    if (queries == 1) state.counters["of_bandwidth"] = bytes / best / limits::read_bandwidth(1);
}

void shapes(benchmark::internal::Benchmark* b) {
    b->ArgsProduct({{1, 9, 64, 256}, {4096}})->Args({1, 65536})->Unit(benchmark::kMicrosecond)->UseRealTime()->MinTime(0.1);
}

}  // namespace

BENCHMARK(attend<float>)->Apply(shapes);
BENCHMARK(attend<gf::bf16>)->Apply(shapes);
BENCHMARK_MAIN();
