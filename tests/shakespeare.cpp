// SPDX-License-Identifier: Apache-2.0
#include "golden.hpp"

#include "../examples/commands/shakespeare.hpp"

namespace {

std::filesystem::path const source = GOLDFINCH_SOURCE_DIR;

}  // namespace

TEST_CASE("the bundled model gives the logits of the Python model that trained it") {
    using model = gf::model<commands::shakespeare, gf::simd<gf::bf16>, gf::compressed_keys<float>>;
    auto const lm = model::load(source / "examples/models/shakespeare.safetensors");
    golden::vectors const expected(source / "tests/data/shakespeare/logits.safetensors");
    auto const tokens = expected.tokens("tokens");
    auto const logits = expected.floats("logits");
    REQUIRE(tokens.size() >= 100);
    gf::session session{lm};
    double worst = 0;
    for (std::size_t t = 0; t < tokens.size(); ++t) worst = std::max(worst, golden::distance(session.step(tokens[t]), std::span(logits).subspan(256 * t, 256)));
    CHECK(worst < 1e-4);  // the logits' standard deviation is 2.7
}
