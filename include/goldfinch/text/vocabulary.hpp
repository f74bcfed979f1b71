// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <goldfinch/config.hpp>
#include <goldfinch/error.hpp>
#include <goldfinch/message.hpp>
#include <goldfinch/utf8.hpp>

namespace goldfinch::detail {

/// The entries of a vocabulary file, in the order of its lines.
struct vocabulary {
    struct entry {
        token id;
        std::uint32_t offset, size;  // of its text in `bytes`
    };

    std::string name;            // the file, for messages
    std::string bytes;           // the texts, one after another
    std::vector<entry> entries;  // entry i stands on line i + 1

    std::string_view text(entry const& e) const { return std::string_view(bytes).substr(e.offset, e.size); }

    [[noreturn]] GOLDFINCH_COLD void fail(std::size_t line, pieces what) const {
        throw load_error(message({"goldfinch: ", name, ", line ", line, ": ", message(what)}));
    }
};

inline constexpr token most_vocabulary_id = 1 << 20;
inline constexpr std::size_t most_vocabulary_bytes = std::size_t{16} << 20;  // the official file has 1.1 MB

/// Reads the lines `index python-literal byte-length`. Literals are parsed, never evaluated: `'...'` and `"..."` are UTF-8 text,
/// `b'...'` and `b"..."` are bytes. Source: rwkv_vocab_v20230424.txt and the string literals of the Python language reference.
template <class OnDemand = void>
class vocabulary_parser {
public:
    vocabulary_parser(std::string_view contents, std::string name) : unread_(contents) { result_.name = std::move(name); }

    /// Throws load_error with file and line.
    vocabulary parse() {
        if (unread_.empty()) throw load_error(message({"goldfinch: ", result_.name, " is empty, not a vocabulary"}));
        if (unread_.size() > most_vocabulary_bytes)
            throw load_error(message({"goldfinch: ", result_.name, " is larger than 16 MiB, not a vocabulary"}));
        result_.bytes.reserve(unread_.size());  // a literal is never shorter than its text
        while (!unread_.empty()) {
            std::size_t const end = unread_.find('\n');
            line_ = unread_.substr(0, end);
            unread_.remove_prefix(end == std::string_view::npos ? unread_.size() : end + 1);
            if (line_.ends_with('\r')) line_.remove_suffix(1);
            rest_ = line_;
            parse_line();
        }
        return std::move(result_);
    }

private:
    void parse_line() {
        token const id = parse_number();
        if (id == 0) fail({"id 0 is the end of text, it has no text of its own"});
        if (id > most_vocabulary_id) fail({"id ", id, " is larger than ", most_vocabulary_id});
        skip(' ');
        std::size_t const offset = result_.bytes.size();
        parse_literal();
        std::size_t const size = result_.bytes.size() - offset;
        if (size == 0) fail({"the text is empty"});
        skip(' ');
        std::uint32_t const stated = parse_number();
        if (!rest_.empty()) fail_format();
        if (stated != size) fail({"the text has ", size, " bytes, the line says ", stated});
        result_.entries.push_back({id, static_cast<std::uint32_t>(offset), static_cast<std::uint32_t>(size)});
    }

    std::uint32_t parse_number() {
        std::uint32_t value = 0;
        auto const [end, problem] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
        if (problem == std::errc::result_out_of_range) fail({"a number does not fit 32 bits"});
        if (problem != std::errc{}) fail_format();
        rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
        return value;
    }

    void parse_literal() {
        bool const is_bytes = rest_.starts_with('b');
        if (is_bytes) rest_.remove_prefix(1);
        char const quote = take();
        if (quote != '\'' && quote != '"') fail_format();
        while (true) {
            if (rest_.empty()) fail({"the literal has no closing quote"});
            if (rest_.front() == quote) break;
            if (rest_.front() == '\\') {
                rest_.remove_prefix(1);
                parse_escape(is_bytes);
            } else {
                parse_character(is_bytes);
            }
        }
        rest_.remove_prefix(1);
    }

    void parse_character(bool is_bytes) {
        utf8_piece const piece = first_utf8(rest_);
        if (piece.kind != utf8_kind::character) fail({"the literal is not valid UTF-8"});
        if (is_bytes && piece.size > 1) fail({"a literal of bytes contains a character that is not ASCII"});
        result_.bytes.append(rest_.substr(0, piece.size));
        rest_.remove_prefix(piece.size);
    }

    void parse_escape(bool is_bytes) {
        char const kind = take();
        switch (kind) {
            case '\\':
            case '\'':
            case '"': result_.bytes.push_back(kind); return;
            case 'a': result_.bytes.push_back('\a'); return;
            case 'b': result_.bytes.push_back('\b'); return;
            case 'f': result_.bytes.push_back('\f'); return;
            case 'n': result_.bytes.push_back('\n'); return;
            case 'r': result_.bytes.push_back('\r'); return;
            case 't': result_.bytes.push_back('\t'); return;
            case 'v': result_.bytes.push_back('\v'); return;
            case 'x': return put(parse_hex(2), is_bytes);
            case 'u':
                if (!is_bytes) return put(parse_hex(4), is_bytes);
                break;
            case 'U':
                if (!is_bytes) return put(parse_hex(8), is_bytes);
                break;
            default:
                if (is_octal(kind)) return put(parse_octal(kind), is_bytes);
                break;
        }
        fail({"unknown escape in the literal"});
    }

    std::uint32_t parse_hex(std::size_t digits) {
        std::uint32_t value = 0;
        char const* const last = rest_.data() + std::min(digits, rest_.size());
        auto const [end, problem] = std::from_chars(rest_.data(), last, value, 16);
        if (problem != std::errc{} || end != rest_.data() + digits) fail({"an escape needs ", digits, " hexadecimal digits"});
        rest_.remove_prefix(digits);
        return value;
    }

    std::uint32_t parse_octal(char first) {
        auto value = static_cast<std::uint32_t>(first - '0');
        for (int more = 0; more < 2 && !rest_.empty() && is_octal(rest_.front()); ++more) {
            value = value * 8 + static_cast<std::uint32_t>(take() - '0');
        }
        return value;
    }

    /// The number of an escape is a byte in a literal of bytes, a code point in one of text.
    void put(std::uint32_t value, bool is_bytes) {
        if (is_bytes) {
            if (value > 0xff) fail({"an escape is larger than a byte"});
            result_.bytes.push_back(static_cast<char>(static_cast<unsigned char>(value)));
        } else {
            if (value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) fail({"an escape is no Unicode character"});
            append_utf8(result_.bytes, static_cast<char32_t>(value));
        }
    }

    static bool is_octal(char c) { return c >= '0' && c <= '7'; }

    char take() {
        if (rest_.empty()) fail_format();
        char const c = rest_.front();
        rest_.remove_prefix(1);
        return c;
    }

    void skip(char expected) {
        if (take() != expected) fail_format();
    }

    [[noreturn]] GOLDFINCH_COLD void fail(pieces what) const { result_.fail(result_.entries.size() + 1, what); }

    [[noreturn]] GOLDFINCH_COLD void fail_format() const {
        std::string shown;
        for (char const c : line_.substr(0, 40)) shown.push_back(c >= ' ' && c <= '~' ? c : '?');
        fail({"expected `index 'text' byte-length`, found `", shown, (line_.size() > 40 ? "...`" : "`")});
    }

    vocabulary result_;
    std::string_view unread_, line_, rest_;  // the lines to come, this line, what is left of it
};

}  // namespace goldfinch::detail
