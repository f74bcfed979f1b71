// SPDX-License-Identifier: Apache-2.0
#include <goldfinch/io/output_file.hpp>

#include <doctest/doctest.h>

#include "builders.hpp"

namespace gf = goldfinch;

namespace {

std::size_t files_in(std::filesystem::path const& directory) {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(directory), std::filesystem::directory_iterator()));
}

auto bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

}  // namespace

TEST_CASE("output_file: the target changes at commit, whole") {
    build::temporary_directory const dir;
    auto const path = dir.file("target", "old");
    gf::output_file file(path);
    file.write(bytes("new "));
    file.write({});
    file.write(bytes("text"));
    CHECK(build::file_text(path) == "old");
    file.commit();
    CHECK(build::file_text(path) == "new text");
    CHECK(files_in(dir.path("")) == 1);
    CHECK_THROWS_AS(file.write(bytes("more")), gf::load_error);
    CHECK_THROWS_AS(file.commit(), gf::load_error);
}

TEST_CASE("output_file: without commit nothing stays behind") {
    build::temporary_directory const dir;
    auto const path = dir.file("target", "old");
    {
        gf::output_file file(path);
        file.write(bytes("new"));
        gf::output_file const moved = std::move(file);
        CHECK(files_in(dir.path("")) == 2);
    }
    CHECK(files_in(dir.path("")) == 1);
    CHECK(build::file_text(path) == "old");
}

TEST_CASE("output_file: the longest names") {
    build::temporary_directory const dir;
    auto const path = dir.path(std::string(255, 'x'));
    gf::output_file file(path);
    file.write(bytes("long"));
    file.commit();
    CHECK(build::file_text(path) == "long");
}

TEST_CASE("output_file: a link stays a link, and what is no file is refused") {
    build::temporary_directory const dir;
    auto const path = dir.file("target", "old");
    std::filesystem::create_symlink("target", dir.path("link"));
    gf::output_file file(dir.path("link"));
    file.write(bytes("new"));
    file.commit();
    CHECK(std::filesystem::is_symlink(dir.path("link")));
    CHECK(build::file_text(path) == "new");

    std::filesystem::create_symlink("link_to_come", dir.path("first"));
    std::filesystem::create_symlink("to_come", dir.path("link_to_come"));
    gf::output_file made(dir.path("first"));
    made.write(bytes("made"));
    made.commit();
    CHECK(std::filesystem::is_symlink(dir.path("first")));
    CHECK(std::filesystem::is_symlink(dir.path("link_to_come")));
    CHECK(build::file_text(dir.path("to_come")) == "made");
    std::filesystem::create_symlink("b", dir.path("a"));
    std::filesystem::create_symlink("a", dir.path("b"));
    CHECK_THROWS_AS(gf::output_file(dir.path("a")), gf::load_error);

    CHECK_THROWS_AS(gf::output_file(dir.path("")), gf::load_error);
    CHECK_THROWS_AS(gf::output_file(dir.path("no/such/directory")), gf::load_error);
    CHECK_THROWS_AS(gf::output_file("/dev/null"), gf::load_error);
}
