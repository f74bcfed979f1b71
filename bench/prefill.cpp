// SPDX-License-Identifier: Apache-2.0
// Tokens through session.append: time over what Eigen's sgemm would need for the work that prefill_cost counts, and the share of the FMA peak.

#include <algorithm>
#include <chrono>
#include <vector>

#include <benchmark/benchmark.h>

#include "arguments.hpp"
#include "limits.hpp"
#include "sgemm.hpp"
#include "small_model.hpp"

namespace {

/// The products that a token takes to be read, for sgemm's rate at them: those of the Finch-C2 blocks, and the compression.
std::vector<limits::product> products() {
    using block = gf::finch_c2<shape>;
    constexpr std::size_t D = shape.n_embd, F = shape.dim_ffn, M = block::M, W = block::W;
    constexpr double blocks = shape.n_layer - shape.n_gold;
    return {
        // receptance, key, value twice, output; the channel mix's receptance
        {D, D, 6 * blocks},
        {F, D, blocks}, {D, F, blocks},                                              // the channel mix's key and value
        {5 * M, D, blocks}, {D, M, 5 * blocks}, {W, D, 2 * blocks}, {D, W, 2 * blocks},  // low-rank: token shifts, decay and second value
        {gf::token_cat<shape>::key_width, D},
    };
}

// Arguments: tokens, threads.
void prefill(benchmark::State& state) {
    static auto lm = small_model<>::random(1);
    std::size_t const tokens = bench::argument(state, 0), threads = bench::argument(state, 1);
    lm.threads(threads);
    auto const text = random_tokens(tokens);

    // Both in turn, and the best of both: other programs disturb times this long.
    double best = 1e30, sgemm = 1e30;
    for (auto _ : state) {
        gf::session session{lm};
        auto const start = std::chrono::steady_clock::now();
        session.append(text);
        double const s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        state.SetIterationTime(s);
        best = std::min(best, s);
        sgemm = std::min(sgemm, limits::sgemm_seconds(threads, tokens, products()));
    }
    double const work = gf::prefill_cost<small_model<>>(tokens).flops, rate = limits::flops(products()) * static_cast<double>(tokens) / sgemm;
    state.counters["tokens/s"] = static_cast<double>(tokens) / best;
    state.counters["GFLOP/s"] = work / best * 1e-9;
    state.counters["of_peak"] = work / best / limits::fma_peak(threads);
#if GOLDFINCH_AMX
    state.counters["of_amx"] = work / best / limits::amx_rate(threads);
#elif GOLDFINCH_AVX512_BF16
    if (gf::kernel::dots_are_fast()) state.counters["of_dots"] = work / best / limits::dots_peak(threads);
#endif
    state.counters["sgemm_of_peak"] = rate / limits::fma_peak(threads);
    state.counters["time_over_sgemm"] = best / (work / rate);
}

}  // namespace

int main(int argc, char** argv) {
    bench::sizes tokens{512}, threads{1, 2};
    bench::arguments options("bench_prefill", "Reading tokens at L12 D768 against Eigen's product and the peak of multiply-adds.");
    options.numbers("--tokens", tokens, 1, 1 << 20, "tokens to read (512)");
    options.threads(threads, "threads (1,2)");
    return options.run(argc, argv, [&] {
        auto* const b = benchmark::RegisterBenchmark("prefill", prefill);
        b->ArgNames({"tokens", "threads"})->Unit(benchmark::kMillisecond)->UseManualTime()->Iterations(8);
        for (std::size_t const n : tokens)
            for (std::size_t const t : threads) b->Args(bench::as_arguments({n, t}));
    });
}
