// SPDX-License-Identifier: Apache-2.0
#include "rows.hpp"

template <std::size_t D>
void add(benchmark::State& state) {
    time_rows<D>(state, 3, [](auto const& be, auto x, auto y) { gf::add(be, x, y); });
}
BENCHMARK(add<768>)->Apply(shapes);
BENCHMARK(add<2048>)->Apply(shapes);

template <std::size_t D>
void relu_squared(benchmark::State& state) {
    time_rows<D>(state, 2, [](auto const& be, auto, auto y) { gf::relu_squared(be, y); });
}
BENCHMARK(relu_squared<2688>)->Apply(shapes);
BENCHMARK(relu_squared<7168>)->Apply(shapes);

template <std::size_t D>
void decay(benchmark::State& state) {
    time_rows<D>(state, 2, [](auto const& be, auto, auto y) { gf::decay(be, y); });
}
BENCHMARK(decay<768>)->Apply(shapes);
BENCHMARK(decay<2048>)->Apply(shapes);

template <std::size_t D>
void sigmoid_gate(benchmark::State& state) {
    // Open gates: with others y would shrink to subnormals, which are slow.
    time_rows<D>(state, 3, [](auto const& be, auto x, auto y) { gf::sigmoid_gate(be, x, y); }, 30);
}
BENCHMARK(sigmoid_gate<768>)->Apply(shapes);
BENCHMARK(sigmoid_gate<2048>)->Apply(shapes);

template <std::size_t D>
void rope(benchmark::State& state) {
    time_rows<D>(state, 2, [](auto const& be, auto, auto y) { 
        gf::single<float> const sequence(nullptr, y.size, 4096);
        gf::rope<64>(be, sequence, y, 10000, 1);
    });
}
BENCHMARK(rope<768>)->Apply(shapes);
BENCHMARK(rope<2048>)->Apply(shapes);

BENCHMARK_MAIN();
