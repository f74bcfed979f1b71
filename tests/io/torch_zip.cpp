// SPDX-License-Identifier: Apache-2.0
#include <goldfinch/io/torch_zip.hpp>

#include <doctest/doctest.h>

#include "builders.hpp"

namespace gf = goldfinch;
using build::contains;
using build::error_of;
using build::state_dict;
using build::torch_archive;

TEST_CASE("torch_zip: a state dict, zip or zip64, aligned or not") {
    for (bool const zip64 : {false, true}) {
        gf::checkpoint const file = build::parse(build::small_torch({.zip64 = zip64, .comment = zip64 ? "" : "zipped again"}));
        CHECK(file.format == "PyTorch zip archive");
        REQUIRE(file.tensors.size() == 2);
        CHECK(file.find("w")->type == gf::dtype::f32);
        CHECK(file.find("w")->shape == std::vector<std::uint64_t>{2, 3});
        CHECK(build::bytes_of(*file.find("w")) == "0123456789abcdefghijklmn");
        CHECK(build::bytes_of(*file.find("v.weight")) == "ABCDEFGH");
        CHECK(file.find("v.weight")->type == gf::dtype::bf16);
        CHECK(file.metadata.empty());
    }
}

TEST_CASE("torch_zip: windows of a storage, shared and strided") {
    build::torch_tensor const base{.key = "1", .type = "ByteStorage", .elements = 8};
    auto const with = [&](char const* name, std::int64_t offset, std::vector<std::int64_t> shape, std::vector<std::int64_t> strides) {
        build::torch_tensor t = base;
        t.name = name, t.offset = offset, t.shape = shape, t.strides = strides;
        return t;
    };
    gf::checkpoint const file = build::parse(
        torch_archive(state_dict({with("all", 0, {8}, {1}), with("same", 0, {2, 4}, {4, 1}), with("part", 3, {2}, {1}),
                                  with("transposed", 0, {4, 2}, {1, 4}), with("every second", 1, {4}, {2}), with("repeated", 2, {3}, {0}),
                                  with("scalar", 7, {}, {}), with("nothing", 8, {0, 5}, {99, 99}), with("ones", 0, {1, 8, 1}, {77, 1, 5})})));
    auto const text = [&](char const* name) { return build::bytes_of(*file.find(name)); };
    CHECK(text("all") == "ABCDEFGH");
    CHECK(text("all").data() == text("same").data());
    CHECK(text("part") == "DE");
    CHECK(text("transposed") == "AEBFCGDH");
    CHECK(text("every second") == "BDFH");
    CHECK(text("repeated") == "CCC");
    CHECK(text("scalar") == "H");
    CHECK(text("nothing").empty());
    CHECK(text("ones").data() == text("all").data());
    CHECK(file.find("all")->type_name == "U8");
    gf::checkpoint const copy = file;  // what was made contiguous lives as long as any copy
    CHECK(build::bytes_of(*copy.find("transposed")) == "AEBFCGDH");
}

TEST_CASE("torch_zip: windows that reach beyond the storage are refused") {
    auto const message = [](build::torch_tensor const& t) { return error_of(torch_archive(state_dict({t}))); };
    constexpr std::int64_t huge = std::int64_t{1} << 62;
    CHECK(message({}).empty());
    CHECK(contains(message({.offset = 1}), "reaches beyond"));
    CHECK(contains(message({.offset = -1}), "-1 where a size"));
    CHECK(contains(message({.offset = huge}), "reaches beyond"));
    CHECK(contains(message({.strides = {4, 1}}), "reaches beyond"));
    CHECK(contains(message({.strides = {huge, huge}}), "reaches beyond"));
    CHECK(contains(message({.strides = {-3, 1}}), "-3 where a size"));
    CHECK(contains(message({.shape = {huge, 16}}), "reaches beyond"));
    CHECK(contains(message({.shape = {huge, 16}, .strides = {0, 0}}), "reaches beyond"));
    CHECK(contains(message({.shape = {1000000, 16}, .strides = {0, 0}}), "not contiguous and would need 64000000 bytes"));
    CHECK(contains(message({.shape = {2, 3, 1}}), "3 dimensions with 2 strides"));
    CHECK(contains(message({.elements = 7}), "expects 7 elements of F32, but the entry has 24 bytes"));
    CHECK(contains(message({.elements = huge}), "expects"));
    CHECK(contains(message({.key = "2"}), "no such entry"));
    CHECK(contains(message({.type = "DoubleStorage"}), "expects 6 elements of F64"));
    std::string const twice = error_of(torch_archive(state_dict({{}, {}})));
    CHECK(contains(twice, "tensor 'w' twice"));
    CHECK(contains(twice, "test.file"));
}

TEST_CASE("torch_zip: archives of another kind are refused") {
    std::string const pickle = state_dict({{}});
    CHECK(contains(error_of(build::zip({{.name = "word/document.xml", .data = "x"}})), "not one that torch.save wrote"));
    CHECK(contains(error_of(build::zip({})), "0 entries"));
    CHECK(contains(error_of(build::zip({{.name = "data.pkl", .data = pickle}})), "not one that torch.save wrote"));
    CHECK(contains(error_of(build::zip({{.name = "a/data.pkl", .data = pickle}, {.name = "b/data.pkl", .data = pickle}})), "more than one data.pkl"));
    CHECK(contains(error_of(build::zip({{.name = "a/data.pkl", .data = pickle}, {.name = "a/byteorder", .data = "big"}})), "byte order 'big'"));
    CHECK(contains(error_of(build::zip({{.name = "a/data.pkl", .data = pickle}, {.name = "a/constants.pkl", .data = ""}})), "TorchScript"));
    CHECK(contains(error_of(build::zip({{.name = "a/data.pkl", .data = pickle, .crc = 1}})), "checksum"));
}

TEST_CASE("torch_zip: cut short at every byte it never loads") {
    for (bool const zip64 : {false, true}) {
        std::string const file = build::small_torch({.zip64 = zip64});
        for (std::size_t n = 0; n < file.size(); ++n) CHECK_MESSAGE(!error_of(file.substr(0, n)).empty(), n);
    }
}
