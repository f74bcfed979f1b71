// SPDX-License-Identifier: Apache-2.0
#include "rows.hpp"

namespace {

void layer_norm(benchmark::State& state) {
    auto const weight = random_values<gf::bf16>(bench::argument(state, 0)), bias = random_values<gf::bf16>(bench::argument(state, 0));
    time_rows(state, 2, [&](auto const& be, auto x, auto y) { gf::kernel::layer_norm(be, weight.data(), bias.data(), x, y, 1e-5f, 1); });
}
void rms_norm(benchmark::State& state) {
    time_rows(state, 2, [](auto const& be, auto x, auto y) { gf::kernel::rms_norm(be, x, y); });
}

}  // namespace

int main(int argc, char** argv) {
    return row_program("bench_norm", "Norms of rows against the bandwidth of the memory that their rows lie in")
        .run(argc, argv, {{"layer_norm", layer_norm, {768, 2048}}, {"rms_norm", rms_norm, {768, 2048}}});
}
