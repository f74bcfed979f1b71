// SPDX-License-Identifier: Apache-2.0
// One decode step behind a long context, for every cache: what it costs and what is kept. Filling 65,536 tokens takes minutes;
// --tokens picks lengths.

#include <algorithm>
#include <chrono>
#include <type_traits>
#include <vector>

#include <benchmark/benchmark.h>

#include "arguments.hpp"
#include "limits.hpp"
#include "sgemm.hpp"
#include "small_model.hpp"

namespace {

constexpr std::size_t D = shape.n_embd, gold_blocks = shape.n_gold;

/// The products that make a cached token's keys and values for all GOLD blocks, for sgemm's rate at them: a third are TokenCat's.
std::vector<limits::product> products(bool with_token_cat) {
    using block = gf::gold<shape>;
    constexpr auto blocks = static_cast<double>(gold_blocks);
    return {
        {D, D + gf::token_cat<shape>::key_width, with_token_cat ? 1.0 : 0.0},
        {2 * block::M, D, blocks}, {D, block::M, 2 * blocks}, {block::R, D, 2 * blocks}, {D, block::R, 2 * blocks},  // token shifts, keys and values
    };
}

// Arguments: tokens of context, threads.
template <class Cache>
void context(benchmark::State& state) {
    auto const made = products(!std::is_same_v<Cache, gf::full_keys<typename Cache::value>>);
    constexpr bool makes_keys = !std::is_same_v<Cache, gf::expanded_kv<typename Cache::value>>;  // or reads them
    static auto lm = small_model<Cache>::random(1, {.working_set = 0});  // everything is made again at every step
    static gf::session<small_model<Cache>> session{lm};  // grows from one run to the next
    std::size_t const length = bench::argument(state, 0), threads = bench::argument(state, 1);
    if (session.position() > length) session = gf::session{lm};
    lm.threads(0);
    session.append(random_tokens(length - session.position(), length));
    session.logits();
    lm.threads(threads);

    double best = 1e30, sgemm = 1e30;
    for (auto _ : state) {
        auto fork = session;
        auto const start = std::chrono::steady_clock::now();
        benchmark::DoNotOptimize(fork.step(42).data());
        double const s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        state.SetIterationTime(s);
        best = std::min(best, s);
        if (makes_keys) sgemm = std::min(sgemm, limits::sgemm_seconds(threads, length, made));
    }
    auto const n = static_cast<double>(length);
    gf::cost const work = gf::decode_cost<small_model<Cache>>(length + 1);
    state.counters["GFLOP/step"] = work.flops * 1e-9;
    state.counters["ms/step"] = best * 1e3;
    state.counters["cache_bytes/token"] = static_cast<double>(session.cache_bytes()) / n;
    if constexpr (!makes_keys) {
        state.counters["of_bandwidth"] = (work.weight_bytes + work.cache_bytes) / best / limits::read_bandwidth(threads);
    } else {
        state.counters["of_peak"] = work.flops / best / limits::fma_peak(threads);
        state.counters["time_over_sgemm"] = best / (work.flops * sgemm / (limits::flops(made) * n));
    }
}

using function = void (*)(benchmark::State&);
constexpr bench::named<function> caches[] = {{"compressed", context<gf::compressed_keys<gf::bf16>>},
                                             {"compressed-int8", context<gf::compressed_keys<gf::int8>>},
                                             {"full", context<gf::full_keys<gf::bf16>>},
                                             {"expanded", context<gf::expanded_kv<gf::bf16>>}};

}  // namespace

int main(int argc, char** argv) {
    bench::sizes tokens{1024, 4096, 16384, 65536}, threads{1, 2};
    std::vector<bench::named<function>> chosen(std::begin(caches), std::end(caches));
    bench::arguments options("bench_context",
                             "A decode step behind a long context, at L12 D768 with no working set, against the peak of multiply-adds and\n"
                             "Eigen's product, or the read bandwidth.");
    options.numbers("--tokens", tokens, 1, 1 << 24, "tokens of context (1024,4096,16384,65536)");
    options.names("--cache", chosen, caches, "compressed, compressed-int8, full, expanded (all)");
    options.threads(threads, "threads (1,2)");
    return options.run(argc, argv, [&] {
        for (auto const& [name, time] : chosen) {
            auto* const b = benchmark::RegisterBenchmark(("context<" + std::string(name) + ">").c_str(), time);
            b->ArgNames({"tokens", "threads"})->Unit(benchmark::kMillisecond)->UseManualTime()->MinTime(0.5);
            for (std::size_t const n : tokens)
                for (std::size_t const t : threads) b->Args(bench::as_arguments({n, t}));
        }
    });
}
