// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <memory>
#include <span>
#include <system_error>
#include <utility>

#include <goldfinch/error.hpp>
#include <goldfinch/message.hpp>

#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace goldfinch {

/// A file that appears whole or not at all: what is written goes to a temporary file in the same directory, commit() renames
/// it over the target, and without commit() it is removed. So saving over a file that is mapped or read elsewhere is safe,
/// and a failure leaves the old file as it was. A file that takes the place of another has its permissions from the beginning.
/// Move-only. Every failure throws load_error naming the file.
template <class OnDemand = void>
class output_file {
public:
    /// `permissions`: of the file if there is none yet. The user's umask may take some away.
    explicit output_file(std::filesystem::path target, std::filesystem::perms permissions = std::filesystem::perms{0666})
        : target_(std::move(target)) {
        if (target_.empty()) throw load_error("goldfinch: the path of a file is empty");
        std::error_code error;
        // A link keeps pointing to where it did: the file behind it, there or not, is what is written.
        for (int links = 0; std::filesystem::is_symlink(std::filesystem::symlink_status(target_, error)); ++links) {
            auto const next = std::filesystem::read_symlink(target_, error);
            if (error || links == 40) fail({error ? error.message() : "too many links"});
            target_ = target_.parent_path() / next;
        }
        auto const status = std::filesystem::status(target_, error);
        if (std::filesystem::is_directory(status)) fail({"is a directory"});
        if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) fail({"is not a regular file"});
        bool const replaces = std::filesystem::exists(status);
        create(replaces ? status.permissions() & std::filesystem::perms::all : permissions);
#if defined(__unix__) || defined(__APPLE__)
        // What the umask took away from the permissions of the old file.
        if (replaces && ::fchmod(::fileno(file_.get()), static_cast<::mode_t>(status.permissions() & std::filesystem::perms::all)) != 0)
            fail({std::strerror(errno)});
#endif
    }

    /// Appends the bytes.
    void write(std::span<std::byte const> bytes) {
        if (!file_) fail({"the file is already committed"});
        if (!bytes.empty() && std::fwrite(bytes.data(), 1, bytes.size(), file_.get()) != bytes.size()) fail({std::strerror(errno)});
    }

    /// Puts the file in its place. Nothing can be written after it.
    void commit() {
        if (!file_) fail({"the file is already committed"});
        if (std::fflush(file_.get()) != 0) fail({std::strerror(errno)});
#if defined(__unix__) || defined(__APPLE__)
        // A rename may reach the disk before the data does: after a power cut the old file would be gone and the new one empty.
        if (::fsync(::fileno(file_.get())) != 0 && errno != EINVAL) fail({std::strerror(errno)});
#endif
        if (std::fclose(file_.release()) != 0) fail({std::strerror(errno)});
        std::error_code error;
        std::filesystem::rename(*temporary_, target_, error);
        if (error) fail({error.message()});
        delete temporary_.release();  // only the path is deleted: no file has that name any more
    }

private:
    struct close_file {
        void operator()(std::FILE* file) const { std::fclose(file); }
    };
    struct remove_file {
        void operator()(std::filesystem::path* path) const {
            std::error_code ignored;
            std::filesystem::remove(*path, ignored);
            delete path;
        }
    };

    [[noreturn]] GOLDFINCH_COLD void fail(detail::pieces what) const {
        throw load_error(detail::message({target_.string(), ": cannot be written: ", detail::message(what)}));
    }

    /// A new file to write, which no program that is started meanwhile inherits; nullptr and errno where that fails.
    static std::FILE* open_new(std::filesystem::path const& path, [[maybe_unused]] std::filesystem::perms permissions) {
#if defined(__unix__) || defined(__APPLE__)
        int const descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, static_cast<::mode_t>(permissions));
        if (descriptor < 0) return nullptr;
        std::FILE* const file = ::fdopen(descriptor, "wb");
        if (!file) {
            int const problem = errno;
            ::close(descriptor);
            ::unlink(path.c_str());
            errno = problem;
        }
        return file;
#else
        return std::fopen(path.string().c_str(), "wbx");  // "x" never opens a file that is there
#endif
    }

    void create(std::filesystem::perms permissions) {
        static std::atomic<unsigned> counter{0};
        for (int attempt = 0; attempt < 100; ++attempt) {
            std::timespec now{};
            std::timespec_get(&now, TIME_UTC);
            auto name = std::make_unique<std::filesystem::path>(target_.parent_path());
            // A name may have 255 bytes.
            *name /= detail::message({target_.filename().string().substr(0, 200), ".", now.tv_sec, ".", now.tv_nsec, "-", counter++, ".tmp"});
            file_.reset(open_new(*name, permissions));
            if (file_) return temporary_.reset(name.release());
            if (errno != EEXIST) fail({std::strerror(errno)});
        }
        fail({"no free name for a temporary file beside it"});
    }

    std::filesystem::path target_;
    std::unique_ptr<std::filesystem::path, remove_file> temporary_;  // before file_: the file is closed first, then removed
    std::unique_ptr<std::FILE, close_file> file_;
};

}  // namespace goldfinch
