// SPDX-License-Identifier: Apache-2.0
// One token at a time at a short context: what decode_cost says must be read, a second, over the read bandwidth of the same kind of memory:
// the best steps over the best reads, and each step over the reads beside it.
// What products skip because it is multiplied by zero counts as read.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <vector>

#include <benchmark/benchmark.h>

#include "arguments.hpp"
#include "limits.hpp"
#include "small_model.hpp"

namespace {

// Argument: threads.
void decode(benchmark::State& state) {
    static auto lm = small_model<>::random(1);
    std::size_t const threads = bench::argument(state, 0);
    lm.threads(threads);
    gf::session prompt{lm};
    prompt.append(random_tokens(15));
    prompt.logits();

    gf::cost const work = gf::decode_cost<small_model<>>(17);
    double const bytes = work.weight_bytes + work.cache_bytes;
    double best = 1e30;
    std::vector<double> shares;
    double before = limits::read_rate_now(threads);
    for (auto _ : state) {
        auto session = prompt;  // so that the context stays short
        session.step(42);       // which makes the keys of its last page anew, as no later step does
        auto const start = std::chrono::steady_clock::now();
        benchmark::DoNotOptimize(session.step(42).data());
        double const s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        state.SetIterationTime(s);
        best = std::min(best, s);
        double const after = limits::read_rate_now(threads);
        shares.push_back(bytes / s / ((before + after) / 2));
        before = after;
    }
    std::ranges::nth_element(shares, shares.begin() + static_cast<std::ptrdiff_t>(shares.size() / 2));
    state.counters["tokens/s"] = 1 / best;
    state.counters["MB/token"] = bytes * 1e-6;
    state.counters["GB/s"] = bytes / best * 1e-9;
    state.counters["limit_GB/s"] = limits::read_bandwidth(threads) * 1e-9;
    state.counters["of_bandwidth"] = bytes / best / limits::read_bandwidth(threads);
    state.counters["of_reads"] = shares[shares.size() / 2];  // that were measured in turn with the steps: the median
}

}  // namespace

int main(int argc, char** argv) {
    bench::sizes threads{1, 2};
    bench::arguments options("bench_decode", "A decode step at L12 D768 and a short context against the read bandwidth.");
    options.threads(threads, "threads (1,2)");
    return options.run(argc, argv, [&] {
        auto* const b = benchmark::RegisterBenchmark("decode", decode);
        b->ArgName("threads")->Unit(benchmark::kMillisecond)->UseManualTime()->MinTime(2);
        for (std::size_t const t : threads) b->Args(bench::as_arguments({t}));
    });
}
