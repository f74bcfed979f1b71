// SPDX-License-Identifier: Apache-2.0
#include "rows.hpp"

namespace {

void token_shift(benchmark::State& state) {
    std::size_t const width = bench::argument(state, 0);
    auto const mu = random_values<gf::bf16>(width);
    auto const last = random_values(width);  // the row before the first one
    std::vector<float const*> before(bench::argument(state, 1), last.data());
    time_rows(state, 2, [&](auto const& be, auto x, auto y) {
        for (std::size_t t = 1; t < before.size(); ++t) before[t] = x[t - 1];
        gf::bf16 const* const mus[]{mu.data()};
        gf::kernel::token_shift(be, x, before.data(), 1, mus, &y);
    });
}

}  // namespace

int main(int argc, char** argv) {
    return row_program("bench_token_shift", "The token shift against the bandwidth of the memory that its rows lie in")
        .run(argc, argv, {{"token_shift", token_shift, {768, 2048}}});
}
