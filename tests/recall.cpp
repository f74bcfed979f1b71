// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <filesystem>
#include <random>

#include <doctest/doctest.h>

#include <goldfinch/goldfinch.hpp>

#include "../examples/recall.hpp"

namespace gf = goldfinch;

TEST_CASE_TEMPLATE("the bundled model recalls 1,000 pairs", Key, gf::bf16, gf::int8) {
    std::filesystem::path const file = std::filesystem::path(GOLDFINCH_SOURCE_DIR) / "examples/models/recall.safetensors";
    auto const lm = gf::model<recall::shape, gf::simd<gf::bf16>, gf::compressed_keys<Key>>::load(file);
    gf::token const n_keys = recall::n_keys(file);
    REQUIRE(n_keys == 2048);
    for (unsigned seed = 0; seed < 10; ++seed) {
        CAPTURE(seed);
        std::mt19937 random(seed);
        recall::task const t = recall::draw(1000, n_keys, random);
        gf::session session{lm};
        session.append(t.prompt);
        CHECK(recall::n_recalled(session, t) == 1000);
    }
}
