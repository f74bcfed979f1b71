// SPDX-License-Identifier: Apache-2.0
// What goldfinch-bench --backend cuda measures, where there is a GPU; elsewhere what it says.
#include "../../examples/bench/gpu/gpu.hpp"

#include <goldfinch/backend/cuda.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <iostream>
#include <string>
#include <vector>

namespace gf = goldfinch;

TEST_CASE("goldfinch-bench measures models on a GPU, or says in one sentence why not") {
    auto const [models, measure_limits] = bench::on_gpu();
    REQUIRE(!models.empty());
    bench::gpu_model const& smallest = *std::ranges::min_element(models, {}, [](bench::gpu_model const& m) { return m.cfg.n_embd; });
    try {
        gpu::limits const most = measure_limits();
        CHECK(most.architecture.starts_with("sm_"));
        CHECK(most.copy > 1e9);
        std::vector<gf::token> const tokens(100, 7);
        auto const lm = smallest.open("");
        lm->append(tokens);
        lm->logits();
        CHECK(lm->position() == 100);
        CHECK(lm->prefill(tokens) > 0);
        CHECK(lm->decode(tokens) > 0);
        CHECK(lm->position() == 100);  // forks did that
    } catch (gf::cuda_error const& e) {
        std::string const why = e.what();
        std::cout << "skipped: goldfinch-bench on a GPU: " << why << '\n';
        CHECK(why.find('\n') == why.npos);
        CHECK_THROWS_AS((void)smallest.open(""), gf::cuda_error);
    }
}
