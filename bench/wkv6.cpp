// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "rows.hpp"

// Decode is bound by reading and writing the state, pre-fill by arithmetic: 5 FLOP a state element and token.
template <std::size_t H, std::size_t N>
void wkv6(benchmark::State& state) {
    auto const tokens = static_cast<std::size_t>(state.range(0)), threads = static_cast<std::size_t>(state.range(1));
    on<> here(threads);
    constexpr std::size_t D = H * N;
    auto r = random_values(tokens * D), k = random_values(tokens * D), v = random_values(tokens * D), w = random_values(tokens * D);
    for (float& x : w) x = std::exp(-std::exp(x));
    gf::aligned_vector<float> y(tokens * D), s(D * N);
    auto const sequence = [&](auto& x) { return gf::sequence<float, D>{x.data(), tokens}; };
    gf::single<float> const alone(s.data(), tokens, 0);
    for (auto _ : state) {
        gf::wkv6(here.be, sequence(r), sequence(k), sequence(v), sequence(w), alone.state<gf::simd<gf::bf16>, H, N, N>(), sequence(y));
        benchmark::ClobberMemory();
    }
    if (tokens == 1) report_bytes(state, threads, 2 * s.size() * sizeof(float));
    report_flops(state, threads, 5.0 * static_cast<double>(tokens * D * N));
}

void chunks(benchmark::internal::Benchmark* b) {
    b->ArgNames({"T", "threads"})->UseRealTime();
    for (int threads : {1, 2})
        for (int tokens : {1, 16, 256}) b->Args({tokens, threads});
}
BENCHMARK(wkv6<12, 64>)->Apply(chunks);
BENCHMARK(wkv6<32, 64>)->Apply(chunks);
BENCHMARK(wkv6<1, 64>)->Apply(chunks);
BENCHMARK(wkv6<4, 32>)->Apply(chunks);

BENCHMARK_MAIN();
