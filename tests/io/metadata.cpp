// SPDX-License-Identifier: Apache-2.0
#include <goldfinch/io/metadata.hpp>

#include <doctest/doctest.h>

#include "builders.hpp"

namespace gf = goldfinch;

TEST_CASE("metadata: every field of a config there and back") {
    gf::config const odd = gf::check({.vocab_size = 300,
                                      .n_layer = 7,
                                      .n_gold = 3,
                                      .n_embd = 96,
                                      .head_size = 24,
                                      .dim_att = 96,
                                      .dim_ffn = 100,
                                      .kv_cache_compression_ratio = 12,
                                      .rope_base = 5000,
                                      .rope_rescale = 2,
                                      .head_size_divisor = 4,
                                      .use_one_minus_w = false,
                                      .use_v2 = false});
    for (gf::config const& c : {odd, gf::config{}, gf::presets::goldfinch_0b1_rope}) {
        auto const metadata = gf::to_metadata(c);
        CHECK(metadata.size() == 13);
        CHECK(gf::config_from_metadata(metadata, "f") == gf::check(c));
    }
    CHECK(gf::to_metadata(odd).at("use_v2") == "false");
    CHECK(gf::to_metadata(gf::config{}).at("dim_ffn") == "7168");
}

TEST_CASE("metadata: none of ours is no config, a part of it takes the defaults") {
    CHECK(!gf::config_from_metadata({{"format", "pt"}}, "f"));
    CHECK(gf::config_from_metadata({{"n_layer", "12"}, {"n_embd", "768"}}, "f") == gf::presets::goldfinch_0b1);
}

TEST_CASE("metadata: a bad value is an error that names the key") {
    auto const message = [](char const* key, char const* value) -> std::string {
        try {
            gf::config_from_metadata({{key, value}}, "some.file");
            return "";
        } catch (gf::load_error const& e) {
            return e.what();
        }
    };
    for (char const* value : {"", "x", "12x", " 12", "1.5", "99999999999", "-5", "+5", "0x10"})
        CHECK(build::contains(message("n_layer", value), "some.file: metadata n_layer"));
    CHECK(build::contains(message("use_v2", "1"), "metadata use_v2: expected 'true' or 'false', found '1'"));
    CHECK(build::contains(message("n_embd", "100"), "some.file: metadata: goldfinch: n_embd must be a multiple of 32"));
}
