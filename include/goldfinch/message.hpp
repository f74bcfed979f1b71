// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <goldfinch/compiler.hpp>

// Messages are put together out of line, from parts that are as cheap to name as arguments: what a program pays for its error
// reports, in code and in the time to compile it, is next to nothing.
//
// `template <class OnDemand = void>` serves the same end: readers, writers and what draws or splits text are templates of a
// parameter without meaning, so that only a program that calls them compiles their bodies.

namespace goldfinch::detail {

/// Text from a file, to be quoted: control characters and non-ASCII bytes as \xNN, at most 120 bytes of it.
struct in_quotes {
    explicit in_quotes(std::string_view t) : text(t) {}
    std::string_view text;
};

/// As in_quotes, without the quotes.
struct escaped {
    explicit escaped(std::string_view t) : text(t) {}
    std::string_view text;
};

/// " (byte 123)": where in a file.
struct at_byte {
    explicit at_byte(std::uint64_t at) : offset(at) {}
    std::uint64_t offset;
};

/// "[256, 64]"
struct shape_text {
    explicit shape_text(std::vector<std::uint64_t> const& s) : shape(s) {}
    std::vector<std::uint64_t> const& shape;
};

/// Part of a message: text, an integer in decimal, or one of the above. Refers to what it is made from.
class piece {
public:
    piece(std::string_view text) : data_(text.data()), size_(text.size()), kind_(kind::text) {}
    piece(char const* text) : piece(std::string_view(text)) {}
    piece(std::string const& text) : data_(text.data()), size_(text.size()), kind_(kind::text) {}
    template <std::integral N>
    requires(sizeof(N) > 1)  // characters and flags are no numbers
        piece(N number)
        : size_(static_cast<std::uint64_t>(number)), kind_(std::is_signed_v<N> ? kind::integer : kind::natural) {}
    piece(in_quotes q) : data_(q.text.data()), size_(q.text.size()), kind_(kind::quoted) {}
    piece(escaped e) : data_(e.text.data()), size_(e.text.size()), kind_(kind::escaped) {}
    piece(at_byte where) : size_(where.offset), kind_(kind::offset) {}
    piece(shape_text s) : data_(s.shape.data()), size_(s.shape.size()), kind_(kind::shape) {}

    GOLDFINCH_COLD void append_to(std::string& result) const {
        switch (kind_) {
            case kind::text: result += text(); break;
            case kind::natural: result += std::to_string(size_); break;
            case kind::integer: result += std::to_string(static_cast<std::int64_t>(size_)); break;
            case kind::quoted: result += '\'', append_escaped(result), result += '\''; break;
            case kind::escaped: append_escaped(result); break;
            case kind::offset: result.append(" (byte ").append(std::to_string(size_)) += ')'; break;
            case kind::shape: append_shape(result); break;
        }
    }

private:
    enum class kind : unsigned char { text, natural, integer, quoted, escaped, offset, shape };

    std::string_view text() const { return {static_cast<char const*>(data_), static_cast<std::size_t>(size_)}; }

    GOLDFINCH_COLD void append_escaped(std::string& result) const {
        constexpr std::size_t most = 120;
        constexpr char digits[] = "0123456789abcdef";
        for (char const c : text().substr(0, most)) {
            auto const byte = static_cast<unsigned char>(c);
            if (byte < 0x20 || byte >= 0x7f)
                result.append("\\x").append(1, digits[byte >> 4]) += digits[byte & 15];
            else
                result += c;
        }
        if (size_ > most) result += "...";
    }

    GOLDFINCH_COLD void append_shape(std::string& result) const {
        char const* separator = "[";
        for (std::size_t i = 0; i < size_; ++i, separator = ", ")
            result.append(separator).append(std::to_string(static_cast<std::uint64_t const*>(data_)[i]));
        result += size_ > 0 ? "]" : "[]";
    }

    void const* data_ = nullptr;
    std::uint64_t size_;  // or the number
    kind kind_;
};

using pieces = std::initializer_list<piece>;

/// Adds the pieces to a string.
GOLDFINCH_COLD inline void append(std::string& text, pieces parts) {
    for (piece const& p : parts) p.append_to(text);
}

/// The pieces as one string.
GOLDFINCH_COLD inline std::string message(pieces parts) {
    std::string result;
    append(result, parts);
    return result;
}

}  // namespace goldfinch::detail
