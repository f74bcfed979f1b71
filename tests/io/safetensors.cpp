// SPDX-License-Identifier: Apache-2.0
#include <goldfinch/io/safetensors.hpp>

#include <doctest/doctest.h>

#include "builders.hpp"

namespace gf = goldfinch;
using build::contains;
using build::error_of;
using build::safetensors;

namespace {

/// One F32 tensor 'a' of 8 bytes of data, with this entry.
std::string with_entry(std::string const& entry) { return safetensors("{\"a\":" + entry + "}", "01234567"); }

struct bad {
    std::string what;
    std::string file, message;
};

}  // namespace

TEST_CASE("safetensors: names, types, shapes, bytes and metadata") {
    gf::checkpoint const file = build::parse(build::small_safetensors());
    CHECK(file.format == "safetensors");
    REQUIRE(file.tensors.size() == 3);
    CHECK(file.metadata.at("note") == "a \"b\" \xc3\xa9\xf0\x9f\x98\x80");
    gf::stored_tensor const* a = file.find("a");
    REQUIRE(a);
    CHECK(a->type == gf::dtype::f32);
    CHECK(a->shape == std::vector<std::uint64_t>{2, 3});
    CHECK(build::bytes_of(*a) == "0123456789abcdefghijklmn");
    CHECK(build::small_safetensors().substr(a->offset, 3) == "012");
    CHECK(file.find("b.weight")->type == gf::dtype::bf16);
    CHECK(file.find("c")->type == gf::dtype::i64);
    CHECK(file.find("c")->type_name == "I64");
    CHECK(file.find("c")->shape.empty());
    CHECK(file.find("d") == nullptr);
}

TEST_CASE("safetensors: an empty header and tensors without elements are fine") {
    CHECK(build::parse(safetensors("{}")).tensors.empty());
    CHECK(build::parse(safetensors(R"({"a":{"dtype":"F32","shape":[0,18446744073709551615],"data_offsets":[0,0]}})")).tensors.size() == 1);
}

TEST_CASE("safetensors: bad files are refused with a sentence") {
    std::string const good = R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
    REQUIRE(error_of(with_entry(good)).empty());
    std::string const half_hole = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":)";
    std::string const deep(100000, '[');
    bad const cases[] = {
        {"header beyond the file", build::u64(1000) + "{}", "is cut short: expected 1000 more bytes, found 2 (byte 8)"},
        {"header over 100 MB", build::u64(100'000'001) + "{}", "100 MB"},
        {"header of 2^63", build::u64(std::size_t{1} << 63) + "{}", "100 MB"},
        {"no JSON", safetensors("{hello}"), "expected a string, found 'h' (byte 9)"},
        {"JSON cut short", safetensors("{\"a\":"), "expected an object, found its end"},
        {"text after the JSON", safetensors("{} x"), "expected the end of the JSON text"},
        {"trailing comma", safetensors("{\"a\":" + good + ",}", "01234567"), "expected a string"},
        {"an array", safetensors("{\"a\":[]}"), "expected an object"},
        {"nested deeply", safetensors("{\"a\":{\"shape\":" + deep), "expected a non-negative integer, found '['"},
        {"objects nested deeply", safetensors("{\"a\":{\"a\":{\"a\":{}}}}"), "unknown key 'a'"},
        {"tensor twice", safetensors("{\"a\":" + good + ",\"a\":" + good + "}", "01234567"), "overlaps"},
        {"empty tensor twice",
         safetensors(R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}})"),
         "tensor 'a' twice"},
        {"key twice", with_entry(R"({"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]})"), "'dtype' twice"},
        {"metadata twice", safetensors(R"({"__metadata__":{},"__metadata__":{}})"), "twice"},
        {"metadata key twice", safetensors(R"({"__metadata__":{"k":"1","k":"2"}})"), "metadata key 'k' twice"},
        {"metadata no string", safetensors(R"({"__metadata__":{"k":1}})"), "expected a string, found '1'"},
        {"metadata no object", safetensors(R"({"__metadata__":null})"), "expected an object"},
        {"fraction", with_entry(R"({"dtype":"F32","shape":[2.0],"data_offsets":[0,8]})"), "expected a non-negative integer, found '.'"},
        {"exponent", with_entry(R"({"dtype":"F32","shape":[2e0],"data_offsets":[0,8]})"), "expected a non-negative integer, found 'e'"},
        {"negative", with_entry(R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})"), "expected a non-negative integer, found '-'"},
        {"leading zero", with_entry(R"({"dtype":"F32","shape":[02],"data_offsets":[0,8]})"), "leading zeros"},
        {"huge", with_entry(R"({"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,8]})"), "64 bits"},
        {"shape overflows", with_entry(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]})"), "overflows"},
        {"size overflows", with_entry(R"({"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,8]})"), "overflows"},
        {"many dimensions", with_entry(R"({"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2],"data_offsets":[0,8]})"), "more than 16"},
        {"shape disagrees", with_entry(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})"), "which is 12 bytes"},
        {"unknown dtype", with_entry(R"({"dtype":"F31","shape":[2],"data_offsets":[0,8]})"), "unknown dtype 'F31'"},
        {"no dtype", with_entry(R"({"shape":[2],"data_offsets":[0,8]})"), "has no dtype"},
        {"no offsets", with_entry(R"({"dtype":"F32","shape":[2]})"), "has no data_offsets"},
        {"one offset", with_entry(R"({"dtype":"F32","shape":[2],"data_offsets":[8]})"), "no pair"},
        {"offsets reversed", with_entry(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})"), "wrong order"},
        {"beyond the end", with_entry(R"({"dtype":"F32","shape":[4],"data_offsets":[0,16]})"), "beyond the file"},
        {"far beyond the end", with_entry(R"({"dtype":"F32","shape":[4],"data_offsets":[18446744073709551599,18446744073709551615]})"),
         "beyond the file"},
        {"bytes after the last", with_entry(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})"), "bytes after the last tensor: 4"},
        {"hole", safetensors(half_hole + "[5,9]}}", "012345678"), "hole"},
        {"hole at the start", with_entry(R"({"dtype":"F32","shape":[1],"data_offsets":[4,8]})"), "hole"},
        {"overlap", safetensors(half_hole + "[2,6]}}", "012345"), "overlaps"},
        {"control character", safetensors("{\"a\nb\":1}"), "the end of a string"},
        {"not UTF-8", safetensors("{\"a\xff\":1}"), "expected UTF-8"},
        {"overlong UTF-8", safetensors("{\"\xc0\xaf\":1}"), "expected UTF-8"},
        {"surrogate in UTF-8", safetensors("{\"\xed\xa0\x80\":1}"), "expected UTF-8"},
        {"unknown escape", safetensors("{\"\\x41\":1}"), "an escape"},
        {"lone surrogate", safetensors("{\"\\ud83d\":1}"), "surrogate"},
        {"lone low surrogate", safetensors("{\"\\ude00\":1}"), "surrogate"},
        {"surrogate pair of two highs", safetensors("{\"\\ud83d\\ud83d\":1}"), "surrogate"},
        {"escape cut short", safetensors("{\"\\u00"), "hexadecimal"},
    };
    for (bad const& c : cases) {
        CAPTURE(c.what);
        std::string const message = error_of(c.file);
        CHECK_MESSAGE(contains(message, c.message), message);
        CHECK(contains(message, "test.file"));
        CHECK(contains(message, "byte "));
    }
}

TEST_CASE("safetensors: cut short at every byte it never loads") {
    std::string const file = build::small_safetensors();
    for (std::size_t n = 0; n < file.size(); ++n) CHECK_MESSAGE(!error_of(file.substr(0, n)).empty(), n);
}

TEST_CASE("safetensors: what is written reads back, aligned") {
    build::temporary_directory const dir;
    float const numbers[] = {1, 2, 3, 4, 5, 6};
    std::uint16_t const halves[] = {7, 8, 9};
    double const wide[] = {0.5};
    std::vector<gf::output_tensor> const tensors{{"half", gf::dtype::bf16, {3}, std::as_bytes(std::span(halves))},
                                                 {"float \"\n\xc3\xa9", gf::dtype::f32, {2, 3}, std::as_bytes(std::span(numbers))},
                                                 {"double", gf::dtype::f64, {1, 1}, std::as_bytes(std::span(wide))},
                                                 {"nothing", gf::dtype::f16, {0}, {}}};
    std::map<std::string, std::string> const metadata{{"key", "value \\ \x01"}, {"", ""}};
    auto const path = dir.path("saved.anything");
    gf::write_safetensors(path, metadata, tensors);
    gf::checkpoint const file = gf::read_checkpoint(path);
    CHECK(file.metadata == metadata);
    REQUIRE(file.tensors.size() == tensors.size());
    for (gf::output_tensor const& t : tensors) {
        gf::stored_tensor const* found = file.find(t.name);
        REQUIRE(found);
        CHECK(found->type == t.type);
        CHECK(found->shape == t.shape);
        CHECK(std::ranges::equal(found->bytes, t.bytes));
        CHECK(found->offset % gf::io::find_dtype(t.type)->size == 0);
    }
    CHECK(file.find("double")->offset % 64 == 0);

    // Saving over the mapped file leaves the mapping as it is.
    gf::write_safetensors(path, {}, {});
    CHECK(std::memcmp(file.find("double")->bytes.data(), wide, 8) == 0);
    CHECK(gf::read_checkpoint(path).tensors.empty());
}

TEST_CASE("safetensors: what cannot be written is refused and leaves the old file") {
    build::temporary_directory const dir;
    auto const path = dir.file("old", "old");
    float const numbers[] = {1, 2};
    auto const bytes = std::as_bytes(std::span(numbers));
    auto const refused = [&](std::vector<gf::output_tensor> const& tensors) {
        CHECK_THROWS_AS(gf::write_safetensors(path, {}, tensors), gf::load_error);
    };
    refused({{"a", gf::dtype::f32, {3}, bytes}});
    refused({{"a", gf::dtype::f32, {2}, bytes}, {"a", gf::dtype::f32, {2}, bytes}});
    refused({{"a", gf::dtype::other, {2}, bytes}});
    refused({{"\xff", gf::dtype::f32, {2}, bytes}});
    refused({{"__metadata__", gf::dtype::f32, {2}, bytes}});
    CHECK_THROWS_AS(gf::write_safetensors(path, {{"k", "\xff"}}, {}), gf::load_error);
    CHECK(build::file_text(path) == "old");
}
