// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <goldfinch/error.hpp>
#include <goldfinch/message.hpp>

/// What the readers of file formats share: bounded little-endian reading, checked arithmetic, and text for messages.
namespace goldfinch::io {

using detail::append, detail::at_byte, detail::escaped, detail::in_quotes, detail::message, detail::pieces, detail::shape_text;

/// Throws load_error: the file, then what is wrong with it.
[[noreturn]] GOLDFINCH_COLD inline void fail(std::filesystem::path const& path, pieces what) {
    throw load_error(message({path.string(), ": ", message(what)}));
}

/// What is wrong with one named thing in a file: as a function, throws load_error "FILE: KIND 'name' WHAT (byte N)".
struct complaint {
    std::filesystem::path const& path;
    std::string_view kind, name;
    std::uint64_t offset;

    [[noreturn]] GOLDFINCH_COLD void operator()(pieces what) const { fail(path, {kind, " ", in_quotes(name), " ", message(what), at_byte(offset)}); }
};

inline std::string_view as_text(std::span<std::byte const> bytes) { return {reinterpret_cast<char const*>(bytes.data()), bytes.size()}; }

/// a * b, or nothing where that overflows.
constexpr std::optional<std::uint64_t> checked_multiply(std::uint64_t a, std::uint64_t b) {
    if (b != 0 && a > std::numeric_limits<std::uint64_t>::max() / b) return std::nullopt;
    return a * b;
}

/// a + b, or nothing where that overflows.
constexpr std::optional<std::uint64_t> checked_add(std::uint64_t a, std::uint64_t b) {
    if (a > std::numeric_limits<std::uint64_t>::max() - b) return std::nullopt;
    return a + b;
}

/// The bytes of a row-major tensor, or nothing where that overflows.
inline std::optional<std::uint64_t> byte_count(std::vector<std::uint64_t> const& shape, std::uint64_t element_size) {
    for (std::uint64_t const n : shape)
        if (n == 0) return 0;
    std::optional<std::uint64_t> total = element_size;
    for (std::uint64_t const n : shape)
        if (total) total = checked_multiply(*total, n);
    return total;
}

/// Reads a range of a file from front to back; never beyond its end.
class byte_reader {
public:
    /// `base`: the file offset of the first byte; `what`: the name of the range, for messages.
    byte_reader(std::span<std::byte const> bytes, std::filesystem::path const& path, std::uint64_t base, std::string_view what)
        : bytes_(bytes), path_(path), base_(base), what_(what) {}

    std::size_t position() const { return position_; }
    std::size_t left() const { return bytes_.size() - position_; }
    std::uint64_t offset() const { return base_ + position_; }

    std::span<std::byte const> take(std::uint64_t n) {
        if (n > left()) {
            fail(path_, {what_, " is cut short: expected ", n, " more bytes, found ", left(), at_byte(offset())});
        }
        auto const result = bytes_.subspan(position_, static_cast<std::size_t>(n));
        position_ += result.size();
        return result;
    }

    std::string_view text(std::uint64_t n) { return as_text(take(n)); }

    /// An unsigned little-endian integer.
    template <std::unsigned_integral T>
    T number() {
        T result = 0;
        auto const source = take(sizeof(T));
        for (std::size_t i = 0; i < sizeof(T); ++i) result = static_cast<T>(result | static_cast<T>(static_cast<T>(source[i]) << (8 * i)));
        return result;
    }

private:
    std::span<std::byte const> bytes_;
    std::filesystem::path const& path_;
    std::uint64_t base_;
    std::string_view what_;
    std::size_t position_ = 0;
};

}  // namespace goldfinch::io
