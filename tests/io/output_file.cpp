// SPDX-License-Identifier: Apache-2.0
#include <goldfinch/io/output_file.hpp>

#include <doctest/doctest.h>

#include "builders.hpp"

#ifdef __unix__
#include <fcntl.h>
#include <sys/stat.h>
#endif

#include <goldfinch/detail/session_file.hpp>

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

#ifdef __unix__

namespace {

using std::filesystem::perms;

perms permissions(std::filesystem::path const& path) { return std::filesystem::status(path).permissions(); }

/// The temporary file beside the target.
std::filesystem::path temporary_in(std::filesystem::path const& directory) {
    for (auto const& entry : std::filesystem::directory_iterator(directory))
        if (entry.path().extension() == ".tmp") return entry.path();
    return {};
}

/// Sets the process's umask for as long as it lives.
struct with_umask {
    explicit with_umask(::mode_t mask) : old(::umask(mask)) {}
    ~with_umask() { ::umask(old); }
    ::mode_t old;
};

}  // namespace

TEST_CASE("output_file: the permissions of the file that is replaced") {
    build::temporary_directory const dir;
    with_umask const usual(022);
    auto const path = dir.file("target", "old");
    for (perms const mode : {perms{0600}, perms{0640}, perms{0666}, perms{0755}, perms{0444}}) {
        CAPTURE(static_cast<int>(mode));
        std::filesystem::permissions(path, mode);
        gf::output_file file(path);
        CHECK(permissions(temporary_in(dir.path(""))) == mode);  // before anything is in it
        file.write(bytes("new"));
        file.commit();
        CHECK(permissions(path) == mode);
    }
}

TEST_CASE("output_file: a new file has what the umask leaves, and one of a session is the user's alone") {
    build::temporary_directory const dir;
    for (auto const& [mask, mode] : {std::pair{022u, 0644}, {027u, 0640}, {077u, 0600}}) {
        with_umask const set(static_cast<::mode_t>(mask));
        gf::output_file file(dir.path("model" + std::to_string(mask)));
        file.commit();
        CHECK(permissions(dir.path("model" + std::to_string(mask))) == perms(mode));
    }
    with_umask const usual(022);
    auto const path = dir.path("session");
    auto const save = [&] {
        gf::detail::session_writer writer(path, {});
        CHECK((permissions(temporary_in(dir.path(""))) & perms::others_all) == (std::filesystem::exists(path) ? perms::others_read : perms::none));
        writer.commit();
    };
    save();
    CHECK(permissions(path) == perms{0600});
    std::filesystem::permissions(path, perms{0644});
    save();
    CHECK(permissions(path) == perms{0644});
}

#ifdef __linux__
TEST_CASE("output_file: a program started meanwhile does not inherit the temporary file") {
    build::temporary_directory const dir;
    gf::output_file const file(dir.path("target"));
    auto const temporary = temporary_in(dir.path(""));
    int found = 0;
    for (auto const& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        std::error_code gone;
        if (std::filesystem::read_symlink(entry.path(), gone) != temporary) continue;
        ++found;
        CHECK((::fcntl(std::stoi(entry.path().filename().string()), F_GETFD) & FD_CLOEXEC) != 0);
    }
    CHECK(found == 1);
}
#endif

#endif
