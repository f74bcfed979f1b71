// SPDX-License-Identifier: Apache-2.0
#include <goldfinch/io/require_tensors.hpp>

#include <doctest/doctest.h>

#include "builders.hpp"

namespace gf = goldfinch;
using build::contains;

namespace {

constexpr gf::config tiny = gf::checked({.vocab_size = 256, .n_layer = 1, .n_gold = 1, .n_embd = 64, .head_size = 16});

/// A Llama's tensors, some of them.
std::vector<gf::expected_tensor> const wanted{{"emb.weight", {256, 64}},
                                              {"blocks.0.att.wq.weight", {64, 64}},
                                              {"blocks.0.ffn.w1.weight", {96, 64}},
                                              {"time_maa_x", {1, 1, 64}},
                                              {"time_decay", {64}}};

gf::checkpoint file_of(std::vector<gf::expected_tensor> const& tensors) {
    gf::checkpoint file{.path = "some.file", .tensors = {}, .metadata = {}, .storage = {}, .format = {}, .file_size = 0};
    for (auto const& t : tensors)
        file.tensors.push_back({.name = t.name, .type = gf::dtype::bf16, .type_name = "BF16", .shape = t.shape, .bytes = {}, .offset = 4096});
    std::ranges::sort(file.tensors, {}, &gf::stored_tensor::name);
    return file;
}

std::string error_of(gf::checkpoint const& file, gf::config const& config = tiny, std::vector<gf::expected_tensor> const& expected = wanted) {
    try {
        gf::require_tensors(file, expected, config);
        return "";
    } catch (gf::load_error const& e) {
        return e.what();
    }
}

}  // namespace

TEST_CASE("require_tensors: what fits passes, with or without leading ones") {
    auto tensors = wanted;
    CHECK(error_of(file_of(tensors)).empty());
    tensors[3].shape = {64};
    tensors[4].shape = {1, 1, 64};
    CHECK(error_of(file_of(tensors)).empty());
    for (std::vector<std::uint64_t> const& shape : {std::vector<std::uint64_t>{64, 1}, {1, 64, 1}, {2, 32}, {65}, {}}) {
        tensors[3].shape = shape;
        CHECK(!error_of(file_of(tensors)).empty());
    }
}

TEST_CASE("require_tensors: one message lists everything") {
    auto tensors = wanted;
    tensors[0].shape = {65536, 64};
    tensors[2].shape = {64, 96};
    tensors[3].name = "time_maa_y";
    std::string const message = error_of(file_of(tensors));
    CHECK(contains(message, "some.file: does not fit this model's type"));
    CHECK(contains(message, "vocab_size: this model's type has 256, the file 65536"));
    CHECK(contains(message, "missing tensors (1):\n    time_maa_x [1, 1, 64]"));
    CHECK(contains(message, "unexpected tensors (1):\n    time_maa_y BF16 [1, 1, 64] (byte 4096)"));
    CHECK(contains(message, "emb.weight: expected [256, 64], found [65536, 64] (byte 4096)"));
    CHECK(contains(message, "blocks.0.ffn.w1.weight: expected [96, 64], found [64, 96], which is transposed (byte 4096)"));
    CHECK(!contains(message, "n_embd"));
}

TEST_CASE("require_tensors: width and depth are named") {
    auto tensors = wanted;
    tensors[0].shape = {256, 128};
    tensors.push_back({"blocks.1.att.wq.weight", {128, 128}});
    std::string const message = error_of(file_of(tensors));
    CHECK(contains(message, "n_embd: this model's type has 64, the file 128"));
    CHECK(contains(message, "n_layer: this model's type has 1, the file 2"));
}

TEST_CASE("require_tensors: long lists are cut, with a count") {
    std::vector<gf::expected_tensor> expected;
    for (int i = 0; i < 50; ++i) expected.push_back({"t" + std::to_string(i), {1}});
    std::string const message = error_of(file_of({}), tiny, expected);
    CHECK(contains(message, "missing tensors (50)"));
    CHECK(contains(message, "... and 30 more"));
    CHECK(contains(message, "no model of this family"));
}

TEST_CASE("require_tensors: integers are no weights") {
    gf::checkpoint file = file_of(wanted);
    file.tensors[0].type = gf::dtype::i64;
    file.tensors[0].type_name = "I64";
    CHECK(contains(error_of(file), "expected floating point (F64, F32, F16 or BF16) or packed integers, found I64"));
}

TEST_CASE("require_tensors: the config in the metadata is held to the type") {
    gf::checkpoint file = file_of(wanted);
    file.metadata = gf::to_metadata(tiny);
    CHECK(error_of(file).empty());
    file.metadata["rope_base"] = "10000";
    CHECK(contains(error_of(file), "rope_base: this model's type has 0, the file 10000"));
    file.metadata["rope_base"] = "ten";  // so it is not ours
    CHECK(error_of(file).empty());
    for (auto const& [key, value] : {std::pair{"n_embd", "768"}, {"n_layer", "3 (2 + 1)"}, {"use_v2", "True"}, {"stack", "rwkv"}}) {
        file.metadata = {{key, value}};
        CHECK(error_of(file).empty());
    }
}
