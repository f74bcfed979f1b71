// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstring>
#include <filesystem>
#include <memory>
#include <span>

#include <goldfinch/io/bytes.hpp>

#if defined(__unix__) || defined(__APPLE__)
#define GOLDFINCH_HAS_MMAP 1
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#else
#include <fstream>
#include <system_error>
#endif

namespace goldfinch {

/// The bytes of a whole regular file, read-only: mapped where the system can, else read into memory. Move-only.
/// As with every mapping, a file that another program shortens meanwhile takes its pages away; replacing it by rename is safe.
template <class OnDemand = void>
class mapped_file {
public:
    /// Throws load_error if the file is missing, a directory or anything else that is no regular file, or unreadable.
    /// An empty file is fine: bytes() is empty.
    explicit mapped_file(std::filesystem::path const& path) : path_(path), data_(open(path)) {}

    std::span<std::byte const> bytes() const { return {data_.get(), data_ ? data_.get_deleter().size : 0}; }
    std::filesystem::path const& path() const { return path_; }

private:
    struct release {
        std::size_t size;
#ifdef GOLDFINCH_HAS_MMAP
        void operator()(std::byte const* data) const { ::munmap(const_cast<std::byte*>(data), size); }
#else
        void operator()(std::byte const* data) const { delete[] data; }
#endif
    };
    using pointer = std::unique_ptr<std::byte const, release>;

#ifdef GOLDFINCH_HAS_MMAP
    struct descriptor {
        int number;
        ~descriptor() {
            if (number >= 0) ::close(number);
        }
    };

    static pointer open(std::filesystem::path const& path) {
        if (path.empty()) throw load_error("goldfinch: the path of a file is empty");
        // Without O_NONBLOCK, opening a pipe would wait for its writer before we can say that it is no file.
        descriptor const file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
        if (file.number < 0) errno == ENOENT ? io::fail(path, {"no such file"}) : io::fail(path, {"cannot be opened: ", std::strerror(errno)});
        struct stat status {};
        if (::fstat(file.number, &status) != 0) io::fail(path, {"cannot be examined: ", std::strerror(errno)});
        if (S_ISDIR(status.st_mode)) io::fail(path, {"is a directory, expected a file"});
        if (!S_ISREG(status.st_mode)) io::fail(path, {"is not a regular file (it cannot be mapped)"});
        auto const size = static_cast<std::size_t>(status.st_size);
        if (size == 0) return pointer(nullptr, release{0});
        void* const data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.number, 0);
        if (data == MAP_FAILED) io::fail(path, {"cannot be mapped: ", std::strerror(errno)});
        return pointer(static_cast<std::byte const*>(data), release{size});
    }
#else
    static pointer open(std::filesystem::path const& path) {
        if (path.empty()) throw load_error("goldfinch: the path of a file is empty");
        std::error_code ignored;
        if (std::filesystem::is_directory(path, ignored)) io::fail(path, {"is a directory, expected a file"});
        std::ifstream file(path, std::ios::binary | std::ios::ate);
        if (!file) io::fail(path, {std::filesystem::exists(path, ignored) ? "cannot be opened" : "no such file"});
        auto const size = static_cast<std::size_t>(file.tellg());
        if (size == 0) return pointer(nullptr, release{0});
        std::unique_ptr<std::byte[]> data(new std::byte[size]);
        file.seekg(0);
        if (!file.read(reinterpret_cast<char*>(data.get()), static_cast<std::streamsize>(size))) io::fail(path, {"cannot be read"});
        return pointer(data.release(), release{size});
    }
#endif

    std::filesystem::path path_;
    pointer data_;
};

}  // namespace goldfinch
