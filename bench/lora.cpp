// SPDX-License-Identifier: Apache-2.0
// The low-rank products against the limits: FLOP a second over the measured peak, and for one token weights read a second over the
// measured read bandwidth (they lie in cache here, where the next layer's would come from memory: above 1 is possible).

#include <algorithm>
#include <chrono>

#include "rows.hpp"

namespace {

using weight = gf::bf16;

/// Runs f(backend, x [tokens, width], h [tokens, rank], w [width, rank], y [tokens, width]) and reports its multiply-adds.
template <class F>
void run(benchmark::State& state, F const& f) {
    std::size_t const width = bench::argument(state, 0), rank = bench::argument(state, 1), tokens = bench::argument(state, 2),
                      threads = bench::argument(state, 3);
    on<weight> here(threads);
    random_rows x(tokens, width), h(tokens, rank), y(tokens, width);
    gf::aligned_vector<weight> const w(width * rank, weight(0.01f));
    double best = 1e30;
    for (auto _ : state) {
        auto const start = std::chrono::steady_clock::now();
        f(here.be, x, h, w.data(), y);
        best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
        benchmark::ClobberMemory();
    }
    double const flops = 2.0 * static_cast<double>(width * rank), rate = flops * static_cast<double>(tokens) / best;
    state.counters["GFLOP/s"] = rate * 1e-9;
    state.counters["of_peak"] = rate / limits::fma_peak(threads);
    if (tokens == 1) state.counters["of_bandwidth"] = flops / 2 * sizeof(weight) / best / limits::read_bandwidth(threads);
}

void lora_down(benchmark::State& state) {
    run(state,
        [](auto const& be, gf::detail::rows<float> x, gf::detail::rows<float> h, weight const* w, auto&) { gf::kernel::lora_down(be, x, w, h); });
}
void lora_up(benchmark::State& state) {
    weight const* const no_bias = nullptr;
    run(state, [&](auto const& be, auto&, gf::detail::rows<float> h, weight const* w, gf::detail::rows<float> y) {
        gf::kernel::lora_up(be, no_bias, h, w, y);
    });
}
void token_shift(benchmark::State& state) {
    auto const mu = random_values<weight>(bench::argument(state, 0));
    auto const last = random_values(bench::argument(state, 0));
    std::vector<float const*> before(bench::argument(state, 2), last.data());
    run(state, [&](auto const& be, gf::detail::rows<float> x, gf::detail::rows<float> h, weight const* w, gf::detail::rows<float> y) {
        for (std::size_t t = 1; t < before.size(); ++t) before[t] = x[t - 1];
        weight const* const mus[]{mu.data()};
        gf::kernel::token_shift_lora(be, x, before.data(), 1, mus, h, w, &y);
    });
}

}  // namespace

int main(int argc, char** argv) {
    std::vector<std::array<std::size_t, 2>> shapes;
    bench::sizes tokens{1, 9, 64, 512}, threads{1, 2};
    bench::arguments options("bench_lora", "Low-rank products against the peak of multiply-adds, and the read bandwidth for one token.");
    options.shapes(shapes, "width,rank", " (768, and the rank that it has in each use)");
    options.numbers("--tokens", tokens, 1, 1 << 20, "rows to multiply (1,9,64,512)");
    options.threads(threads, "threads (1,2)");
    return options.run(argc, argv, [&] {
        auto const add = [&](char const* name, auto* time, std::size_t rank) {
            auto* const b = benchmark::RegisterBenchmark(name, time);
            b->ArgNames({"width", "rank", "tokens", "threads"})->Unit(benchmark::kMicrosecond)->UseRealTime()->MinTime(0.1);
            for (auto const& shape : bench::given_or(shapes, {{768, rank}}))
                for (std::size_t const t : threads)
                    for (std::size_t const n : tokens) b->Args(bench::as_arguments({shape[0], shape[1], n, t}));
        };
        add("lora_down", lora_down, 160);
        add("lora_up", lora_up, 64);
        add("token_shift", token_shift, 32);
    });
}
