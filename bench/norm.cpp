// SPDX-License-Identifier: Apache-2.0
#include "rows.hpp"

template <std::size_t D>
void layer_norm(benchmark::State& state) {
    random_norm<D> const values;
    gf::norm_weights<gf::bf16 const, D> const p = values;
    time_rows<D>(state, 2, [&](auto const& be, auto x, auto y) { layer_norm(be, p, x, y); });
}
BENCHMARK(layer_norm<768>)->Apply(shapes);
BENCHMARK(layer_norm<2048>)->Apply(shapes);

template <std::size_t D>
void rms_norm(benchmark::State& state) {
    time_rows<D>(state, 2, [](auto const& be, auto x, auto y) { gf::rms_norm(be, x, y); });
}
BENCHMARK(rms_norm<768>)->Apply(shapes);
BENCHMARK(rms_norm<2048>)->Apply(shapes);

BENCHMARK_MAIN();
