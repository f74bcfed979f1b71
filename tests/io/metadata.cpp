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

TEST_CASE("metadata: what is not whole or not written as here is no config") {
    CHECK(!gf::config_from_metadata({{"format", "pt"}}, "f"));
    CHECK(!gf::config_from_metadata({{"n_layer", "12"}, {"n_embd", "768"}}, "f"));
    for (char const* value : {"", "x", "12x", " 12", "1.5", "99999999999", "-5", "+5", "0x10"}) {
        auto metadata = gf::to_metadata(gf::config{});
        metadata["n_layer"] = value;
        CHECK(!gf::config_from_metadata(metadata, "f"));
    }
    for (char const* value : {"1", "True", ""}) {
        auto metadata = gf::to_metadata(gf::config{});
        metadata["use_v2"] = value;
        CHECK(!gf::config_from_metadata(metadata, "f"));
    }
}

TEST_CASE("metadata: a whole config that makes no sense is an error") {
    auto metadata = gf::to_metadata(gf::config{});
    metadata["n_embd"] = "100";
    CHECK(build::contains(build::message_of<gf::load_error>([&] { gf::config_from_metadata(metadata, "some.file"); }),
                          "some.file: metadata: goldfinch: n_embd must be a multiple of 32"));
}
