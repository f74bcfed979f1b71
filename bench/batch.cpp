// SPDX-License-Identifier: Apache-2.0
// One step of several sessions together, at a short context: tokens a second of all of them over those of one session alone, measured in
// the same turns. All sessions share one pass over the weights, so few of them should cost little more than one.

#include <algorithm>
#include <chrono>
#include <vector>

#include <benchmark/benchmark.h>

#include "arguments.hpp"
#include "small_model.hpp"

namespace {

// Arguments: sessions, threads.
template <class Weight>
void batch(benchmark::State& state) {
    using model = gf::model<shape, gf::simd<Weight>>;
    static auto lm = model::random(1);
    std::size_t const n = bench::argument(state, 0), threads = bench::argument(state, 1);
    lm.threads(threads);
    std::vector<gf::session<model>> prompts;
    for (std::size_t i = 0; i < n; ++i) {  // each with a past of its own: forks would share work
        prompts.emplace_back(lm).append(random_tokens(15, i + 1));
        prompts[i].logits();
    }
    auto const tokens = random_tokens(n);

    auto const time_step = [&](std::size_t count, double& least) {
        std::vector sessions(prompts.begin(), prompts.begin() + static_cast<std::ptrdiff_t>(count));  // so that the context stays short
        gf::step(sessions, std::span(tokens).first(count));  // which makes the keys of their last pages anew, as no later step does
        auto const start = std::chrono::steady_clock::now();
        gf::step(sessions, std::span(tokens).first(count));
        double const s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        least = std::min(least, s);
        return s;
    };
    // Both in turn, and the best of both: other programs disturb times this long.
    double one = 1e30, all = 1e30;
    for (auto _ : state) {
        time_step(1, one);
        state.SetIterationTime(time_step(n, all));
    }
    state.counters["ms/step"] = all * 1e3;
    state.counters["tokens/s"] = static_cast<double>(n) / all;
    state.counters["over_one"] = static_cast<double>(n) * one / all;
}

using function = void (*)(benchmark::State&);
constexpr bench::named<function> weight_types[] = {{"bf16", batch<gf::bf16>}, {"float", batch<float>}};

}  // namespace

int main(int argc, char** argv) {
    bench::sizes sessions{1, 2, 4, 8, 16, 32}, threads{1, 2};
    std::vector<bench::named<function>> weights{weight_types[0], weight_types[1]};
    bench::arguments options("bench_batch", "A step of several sessions together against one of one session, at L12 D768 and a short context.");
    options.numbers("--sessions", sessions, 1, 4096, "sessions (1,2,4,8,16,32)");
    options.names("--weights", weights, weight_types, "bf16, float (both)");
    options.threads(threads, "threads (1,2)");
    return options.run(argc, argv, [&] {
        for (auto const& [name, time] : weights) {
            auto* const b = benchmark::RegisterBenchmark(("batch<" + std::string(name) + ">").c_str(), time);
            b->ArgNames({"sessions", "threads"})->Unit(benchmark::kMillisecond)->UseManualTime()->Iterations(12);
            for (std::size_t const t : threads)
                for (std::size_t const n : sessions) b->Args(bench::as_arguments({n, t}));
        }
    });
}
