// SPDX-License-Identifier: Apache-2.0
#include "rows.hpp"

namespace {

namespace kernel = gf::kernel;

void add(benchmark::State& state) {
    time_rows(state, 3, [](auto const& be, auto x, auto y) { kernel::add(be, x, y); });
}
void relu_squared(benchmark::State& state) {
    time_rows(state, 2, [](auto const& be, auto, auto y) { kernel::relu_squared(be, y); });
}
void decay(benchmark::State& state) {
    time_rows(state, 2, [](auto const& be, auto, auto y) { kernel::decay(be, y); });
}
void sigmoid_gate(benchmark::State& state) {
    // Open gates: with others y would shrink to subnormals, which are slow.
    time_rows(state, 3, [](auto const& be, auto x, auto y) { kernel::sigmoid_gate(be, x, y); }, 30);
}
void rope(benchmark::State& state) {
    constexpr std::size_t head_size = 64;
    if (bench::argument(state, 0) % head_size != 0) return state.SkipWithError("heads have 64 channels: the width must be a multiple of that");
    time_rows(state, 2, [](auto const& be, auto, auto y) { kernel::rope(be, y, head_size, 4096, 10000, 1); });
}

}  // namespace

int main(int argc, char** argv) {
    return row_program("bench_elementwise", "Operations on single elements against the bandwidth of the memory that their rows lie in")
        .run(argc, argv,
             {{"add", add, {768, 2048}},
              {"relu_squared", relu_squared, {2688, 7168}},
              {"decay", decay, {768, 2048}},
              {"sigmoid_gate", sigmoid_gate, {768, 2048}},
              {"rope", rope, {768, 2048}}});
}
