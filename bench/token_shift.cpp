// SPDX-License-Identifier: Apache-2.0
#include "rows.hpp"

template <std::size_t D>
void token_shift(benchmark::State& state) {
    auto const mu = random_values<gf::bf16>(D);
    auto const prev = random_values(D);
    time_rows<D>(state, 2, [&](auto const& be, auto x, auto y) {
        gf::token_shift(be, x, gf::vector<float const, D>{prev.data()}, gf::vector<gf::bf16 const, D>{mu.data()}, y);
    });
}
BENCHMARK(token_shift<768>)->Apply(shapes);
BENCHMARK(token_shift<2048>)->Apply(shapes);

BENCHMARK_MAIN();
