// SPDX-License-Identifier: Apache-2.0
#include <goldfinch/io/zip.hpp>

#include <doctest/doctest.h>

#include "builders.hpp"

namespace gf = goldfinch;
using build::zip;

namespace {

std::string error_of(std::string const& bytes) {
    std::filesystem::path const path = "test.zip";
    try {
        gf::io::zip_directory const directory(std::as_bytes(std::span(bytes)), path);
        return "";
    } catch (gf::load_error const& e) {
        return e.what();
    }
}

/// The file with `with` written over what lies `at` bytes behind the last `signature`.
std::string patched(std::string file, std::string_view signature, std::size_t at, std::string const& with) {
    return file.replace(file.rfind(signature) + at, with.size(), with);
}

}  // namespace

TEST_CASE("zip: entries are found in their place") {
    std::filesystem::path const path = "test.zip";
    for (bool const zip64 : {false, true}) {
        std::string const file = zip({{.name = "a/b", .data = "first"},
                                      {.name = "a/", .data = ""},
                                      {.name = "a/c", .data = "second", .flags = 8, .padding = 5, .local_size = 0}},
                                     {.zip64 = zip64, .comment = "a comment with PK\5\6 in it"});
        gf::io::zip_directory const directory(std::as_bytes(std::span(file)), path);
        CHECK(directory.entries().size() == 3);
        REQUIRE(directory.find("a/c"));
        CHECK(gf::io::as_text(directory.data(*directory.find("a/c"))) == "second");
        CHECK(gf::io::as_text(directory.data(*directory.find("a/b"))) == "first");
        CHECK(directory.find("a/b")->crc == gf::io::crc32(std::as_bytes(std::span(std::string_view("first")))));
        CHECK(directory.find("b") == nullptr);
    }
    CHECK(gf::io::crc32(std::as_bytes(std::span(std::string_view("123456789")))) == 0xcbf43926u);
}

TEST_CASE("zip: bad archives are refused with a sentence") {
    std::string const good = zip({{.name = "n", .data = "data"}, {.name = "m", .data = "more"}});
    std::string const wide = zip({{.name = "n", .data = "data"}}, {.zip64 = true});
    REQUIRE(error_of(good) == "");
    REQUIRE(error_of(wide) == "");
    struct {
        std::string what;
        std::string file, message;
    } const cases[] = {
        {"compressed", zip({{.name = "n", .data = "data", .method = 8}}), "is compressed (method 8)"},
        {"encrypted", zip({{.name = "n", .data = "data", .flags = 1}}), "is encrypted"},
        {"twice", zip({{.name = "n", .data = "data"}, {.name = "n", .data = "data"}}), "'n' twice"},
        {"size beyond the directory", zip({{.name = "n", .data = "data", .size = 1000, .local_size = 1000}}), "of 1000 bytes reaches"},
        {"size of 2^64 - 1", zip({{.name = "n", .data = "data", .size = ~std::uint64_t{0}, .local_size = 0xffffffff}}, {.zip64 = true}), "reaches"},
        {"sizes that disagree", zip({{.name = "n", .data = "data", .local_size = 3}}), "has 3 bytes in its local header, 4 in the directory"},
        {"packed size that disagrees", patched(good, "PK\1\2", 20, build::u32(3)), "has two sizes, 3 and 4"},
        {"other name", zip({{.name = "n", .data = "data", .local_name = "m"}}), "another name"},
        {"empty name", zip({{.name = "", .data = "data"}}), "name of 0 bytes"},
        {"long name", zip({{.name = std::string(5000, 'n'), .data = "data"}}), "name of 5000 bytes"},
        {"overlap", patched(good, "PK\1\2", 42, build::u32(0)), "another name"},
        {"header beyond the directory", patched(good, "PK\1\2", 42, build::u32(1000)), "inside or behind the directory"},
        {"header nowhere", patched(good, "PK\1\2", 42, build::u32(2)), "no local header"},
        {"no end record", good.substr(0, good.size() - 1), "cut short"},
        {"bytes after the end", good + "x", "cut short"},
        {"directory elsewhere", patched(good, "PK\5\6", 16, build::u32(1)), "expected it to end at byte"},
        {"directory beyond the file", patched(good, "PK\5\6", 16, build::u32(0xfffffff0)), "expected it to end at byte"},
        {"too many entries", patched(good, "PK\5\6", 8, build::u16(60000) + build::u16(60000)), "cannot hold 60000 entries"},
        {"too few entries", patched(good, "PK\5\6", 8, build::u16(1) + build::u16(1)), "more than its 1 entries"},
        {"several parts", patched(good, "PK\5\6", 4, build::u16(1)), "several parts"},
        {"zip64 record nowhere", patched(wide, "PK\6\7", 8, build::u64(3)), "points to no zip64 end record"},
        {"zip64 record beyond", patched(wide, "PK\6\7", 8, build::u64(~std::size_t{0})), "points beyond itself"},
        {"zip64 count of 2^60", patched(wide, "PK\6\6", 24, build::u64(std::size_t{1} << 60) + build::u64(std::size_t{1} << 60)), "cannot hold"},
        {"zip64 directory of 2^63", patched(wide, "PK\6\6", 40, build::u64(std::size_t{1} << 63)), "expected it to end at byte"},
        {"zip64 disagrees", patched(wide, "PK\5\6", 12, build::u32(7)), "disagree"},
        {"extra field cut short", patched(wide, "PK\1\2", 49, build::u16(9000)), "extra field is cut short"},
    };
    for (auto const& c : cases) {
        CAPTURE(c.what);
        std::string const message = error_of(c.file);
        CHECK_MESSAGE(build::contains(message, c.message), message);
        CHECK(build::contains(message, "test.zip"));
    }
}

TEST_CASE("zip: two entries cannot share bytes") {
    // The second entry's local header lies in the first one's data.
    std::string const inner = zip({{.name = "m", .data = "more"}}).substr(0, 35);
    std::string file = zip({{.name = "n", .data = inner}, {.name = "m", .data = "more"}});
    file = patched(file, "PK\1\2", 42, build::u32(31));
    CHECK(build::contains(error_of(file), "overlap"));
}
