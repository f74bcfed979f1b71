// SPDX-License-Identifier: Apache-2.0
#include "rows.hpp"

template <std::size_t D>
void token_shift(benchmark::State& state) {
    auto const mu = random_values<gf::bf16>(D);
    auto before = random_values(D);
    time_rows<D>(state, 2, [&](auto const& be, auto x, auto y) {
        gf::single<float> const sequence(before.data(), x.size, 0);
        gf::token_shift(be, x, sequence.template state<gf::simd<gf::bf16>, D>(), {mu.data()}, y);
    });
}
BENCHMARK(token_shift<768>)->Apply(shapes);
BENCHMARK(token_shift<2048>)->Apply(shapes);

BENCHMARK_MAIN();
