// SPDX-License-Identifier: Apache-2.0
// One token at a time at a short context: what decode_cost says must be read, a second, over the read bandwidth of the same kind of memory.

#include <algorithm>
#include <chrono>

#include <benchmark/benchmark.h>

#include "limits.hpp"
#include "small_model.hpp"

namespace {

// Argument: threads.
void decode(benchmark::State& state) {
    static auto lm = small_model<>::random(1);
    auto const threads = static_cast<std::size_t>(state.range(0));
    lm.threads(threads);
    gf::session prompt{lm};
    prompt.append(random_tokens(15));
    prompt.logits();

    double best = 1e30;
    for (auto _ : state) {
        auto session = prompt;  // so that the context stays short
        auto const start = std::chrono::steady_clock::now();
        benchmark::DoNotOptimize(session.step(42).data());
        double const s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        state.SetIterationTime(s);
        best = std::min(best, s);
    }
    gf::cost const work = gf::decode_cost<small_model<>>(16);
    double const bytes = work.weight_bytes + work.cache_bytes;
    state.counters["tokens/s"] = 1 / best;
    state.counters["MB/token"] = bytes * 1e-6;
    state.counters["GB/s"] = bytes / best * 1e-9;
    state.counters["limit_GB/s"] = limits::read_bandwidth(threads) * 1e-9;
    state.counters["of_bandwidth"] = bytes / best / limits::read_bandwidth(threads);
}

}  // namespace

BENCHMARK(decode)->ArgName("threads")->Arg(1)->Arg(2)->Unit(benchmark::kMillisecond)->UseManualTime()->MinTime(2);
BENCHMARK_MAIN();
