// SPDX-License-Identifier: Apache-2.0
#include <goldfinch/io/checkpoint.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "builders.hpp"

namespace gf = goldfinch;
using build::contains;
using build::error_of;

TEST_CASE("checkpoint: files are known by their content, whatever their name") {
    build::temporary_directory const dir;
    CHECK(gf::read_checkpoint(dir.file("a.pth", build::small_safetensors())).format == "safetensors");
    CHECK(gf::read_checkpoint(dir.file("a.safetensors", build::small_torch())).format == "PyTorch zip archive");
    // The mapping lives as long as the result.
    gf::checkpoint const kept = gf::read_checkpoint(dir.path("a.pth"));
    std::filesystem::remove(dir.path("a.pth"));
    CHECK(build::bytes_of(*kept.find("b.weight")) == "opqrstuv");
}

TEST_CASE("checkpoint: header lengths that look like another format's first bytes") {
    for (std::size_t const length : {std::size_t{0x8b1f}, std::size_t{0x0280}, std::size_t{0x7b}, std::size_t{0x3c}, std::size_t{0x685a42}}) {
        CAPTURE(length);
        CHECK(build::parse(build::safetensors("{}" + std::string(length - 2, ' '))).tensors.empty());
    }
}

TEST_CASE("checkpoint: other files are named for what they are") {
    using namespace std::string_literals;
    struct {
        std::string bytes, message;
    } const cases[] = {
        {"", "is empty"},
        {"\x10\0\0\0"s, "has 4 bytes, too few"},
        {"\x10\0\0\0\0\0\0\0"s, "has 8 bytes, too few"},
        {"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "git lfs pull"},
        {"<!DOCTYPE html>\n<html><body>404</body></html>", "is an HTML page"},
        {"\n  <html lang=\"en\">", "is an HTML page"},
        {"gfsessn\n\1\0\0\0 and more"s, "is a session of goldfinch"},
        {"<?xml version=\"1.0\"?>", "XML"},
        {"GGUF\3\0\0\0\x10\0\0\0\0\0\0\0"s, "is a gguf file"},
        {"GGUF\3\0\0\0{\0\0\0\0\0\0\0"s, "is a gguf file"},
        {"\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.", "PyTorch before 1.6"},
        {"\x80\x02}q\0(X\5\0\0\0hello"s, "bare pickle"},
        {"{\"n_layer\": 24, \"a\": {}}", "is a JSON text"},
        {"{\"meta\":{}, \"weight_map\": {\"emb.weight\": \"model-1.safetensors\"}}", "in several files"},
        {"[1, 2, 3, 4, 5, 6, 7, 8]", "is a JSON text"},
        {"Once upon a time there was a model.", "is a text"},
        {"\x89HDF\r\n\x1a\n and more", "HDF5"},
        {"\x93NUMPY\1\0 and more"s, "NumPy"},
        {"\x1f\x8b\x08\0 and more"s, "gzip"},
        {"\xff\xfe\xfd\xfc\0\0\0\0\0\0\0\0\0\0"s, "is neither safetensors"},
        {"PK\3\4 cut short", "cut short"},
        {std::string(300, '\0').replace(257, 5, "ustar"), "tar archive"},
    };
    for (auto const& c : cases) {
        std::string const message = error_of(c.bytes);
        CHECK_MESSAGE(contains(message, c.message), message);
        CHECK(contains(message, "test.file: "));
    }
    CHECK_THROWS_AS(gf::read_checkpoint("/no/such/file"), gf::load_error);
    CHECK_THROWS_AS(gf::read_checkpoint(std::filesystem::temp_directory_path()), gf::load_error);
}

TEST_CASE("checkpoint: names from a file cannot garble a message") {
    std::string const message = error_of(build::safetensors("{\"\\u001b[31m\\u0007" + std::string(1000, 'x') + "\":{\"dtype\":\"Q\"}}"));
    CHECK(contains(message, "\\x1b[31m\\x07xxx"));
    CHECK(message.size() < 300);
}

TEST_CASE("checkpoint: NaN and infinity load") {
    float const odd[] = {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()};
    gf::checkpoint const file = build::parse(
        build::safetensors(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", std::string(gf::io::as_text(std::as_bytes(std::span(odd))))));
    CHECK(std::memcmp(file.find("a")->bytes.data(), odd, 8) == 0);
}

TEST_CASE("checkpoint: the golden .pth files equal their safetensors twins bit for bit") {
    auto const golden = build::golden_directory();
    if (golden.empty()) {
        MESSAGE("skipped: no golden vectors (set GOLDFINCH_GOLDEN_DIR)");
        return;
    }
    for (std::string const name : {"goldfinch_small/model_bf16", "gptalpha/model", "llama/model"}) {
        CAPTURE(name);
        gf::checkpoint const torch = gf::read_checkpoint(golden / (name + ".pth")), safe = gf::read_checkpoint(golden / (name + ".safetensors"));
        REQUIRE(torch.tensors.size() == safe.tensors.size());
        CHECK(!torch.tensors.empty());
        for (std::size_t i = 0; i < safe.tensors.size(); ++i) {
            gf::stored_tensor const &a = torch.tensors[i], &b = safe.tensors[i];
            CHECK(a.name == b.name);
            CHECK(a.type_name == b.type_name);
            CHECK(a.shape == b.shape);
            CHECK(std::ranges::equal(a.bytes, b.bytes));
        }
    }
}
