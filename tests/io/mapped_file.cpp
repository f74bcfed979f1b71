// SPDX-License-Identifier: Apache-2.0
#include <goldfinch/io/mapped_file.hpp>

#include <doctest/doctest.h>

#include <type_traits>

#include "builders.hpp"

namespace gf = goldfinch;

TEST_CASE("mapped_file: the bytes of a file, and moving them") {
    static_assert(std::is_nothrow_move_constructible_v<gf::mapped_file<>> && !std::is_copy_constructible_v<gf::mapped_file<>>);
    build::temporary_directory const dir;
    gf::mapped_file file(dir.file("f", "hello"));
    CHECK(gf::io::as_text(file.bytes()) == "hello");
    gf::mapped_file const moved = std::move(file);
    CHECK(gf::io::as_text(moved.bytes()) == "hello");
    CHECK(moved.path() == dir.path("f"));
    CHECK(gf::mapped_file(dir.file("empty", "")).bytes().empty());
}

TEST_CASE("mapped_file: what is no file is named") {
    build::temporary_directory const dir;
    auto const message = [](std::filesystem::path const& path) -> std::string {
        try {
            gf::mapped_file const file(path);
            return "";
        } catch (gf::load_error const& e) {
            return e.what();
        }
    };
    CHECK(build::contains(message(dir.path("missing.pth")), "missing.pth: no such file"));
    CHECK(build::contains(message(dir.path("")), "is a directory"));
#ifdef GOLDFINCH_HAS_MMAP
    CHECK(build::contains(message("/dev/null"), "not a regular file"));
#endif
}
