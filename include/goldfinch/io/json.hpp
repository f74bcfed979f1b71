// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include <goldfinch/io/bytes.hpp>
#include <goldfinch/utf8.hpp>

namespace goldfinch::io {

/// Reads strict JSON (RFC 8259) whose structure the caller knows: the caller asks for what must come next, and anything else
/// is a load_error with its byte. So nesting is bounded by what is asked for, and nothing is built that nobody wants.
template <class OnDemand = void>
class json_reader {
public:
    /// `base`: the file offset of the text.
    json_reader(std::string_view text, std::filesystem::path const& path, std::uint64_t base) : text_(text), path_(path), base_(base) {}

    std::uint64_t offset() const { return base_ + position_; }

    /// { "key": value, ... }: calls on_member(key), which must read the value.
    template <class F>
    void object(F&& on_member) {
        expect('{', "an object");
        if (accept('}')) return;
        do {
            std::string const key = string();
            expect(':', "':' after a key");
            on_member(key);
        } while (accept(','));
        expect('}', "',' or '}'");
    }

    /// [ value, ... ]: calls on_item(), which must read the value.
    template <class F>
    void array(F&& on_item) {
        expect('[', "an array");
        if (accept(']')) return;
        do on_item();
        while (accept(','));
        expect(']', "',' or ']'");
    }

    /// A string, its escapes replaced, as UTF-8.
    std::string string() {
        expect('"', "a string");
        std::string result;
        for (;;) {
            std::size_t const start = position_;
            while (position_ < text_.size() && text_[position_] != '"' && text_[position_] != '\\' &&
                   static_cast<unsigned char>(text_[position_]) >= 0x20)
                ++position_;
            std::string_view const run = text_.substr(start, position_ - start);
            if (std::size_t const good = detail::valid_utf8_prefix(run); good != run.size()) {
                position_ = start + good;
                wrong("UTF-8");
            }
            result += run;
            if (position_ == text_.size() || static_cast<unsigned char>(text_[position_]) < 0x20) wrong("the end of a string");
            if (text_[position_++] == '"') return result;
            append_escape(result);
        }
    }

    /// A non-negative integer without fraction or exponent that fits 64 bits.
    std::uint64_t integer() {
        skip_space();
        std::size_t const start = position_;
        auto const digit = [&] { return position_ < text_.size() && text_[position_] >= '0' && text_[position_] <= '9'; };
        std::uint64_t result = 0;
        for (; digit(); ++position_) {
            auto const tens = checked_multiply(result, 10);
            auto const next = tens ? checked_add(*tens, static_cast<std::uint64_t>(text_[position_] - '0')) : tens;
            if (!next || (position_ > start && text_[start] == '0')) {
                position_ = start;
                wrong(next ? "an integer without leading zeros" : "an integer of at most 64 bits");
            }
            result = *next;
        }
        bool const fraction = position_ < text_.size() && (text_[position_] == '.' || text_[position_] == 'e' || text_[position_] == 'E');
        if (position_ == start || fraction) wrong("a non-negative integer");
        return result;
    }

    /// Nothing but white space may be left.
    void end() {
        skip_space();
        if (position_ != text_.size()) wrong("the end of the JSON text");
    }

private:
    [[noreturn]] GOLDFINCH_COLD void wrong(std::string_view expected) const {
        bool const ended = position_ == text_.size();
        fail(path_, {"the JSON header: expected ", expected, ", found ", ended ? detail::piece("its end") : in_quotes(text_.substr(position_, 1)),
                     at_byte(offset())});
    }

    void skip_space() {
        while (position_ < text_.size() &&
               (text_[position_] == ' ' || text_[position_] == '\n' || text_[position_] == '\r' || text_[position_] == '\t'))
            ++position_;
    }

    bool accept(char c) {
        skip_space();
        if (position_ == text_.size() || text_[position_] != c) return false;
        ++position_;
        return true;
    }

    void expect(char c, std::string_view what) {
        if (!accept(c)) wrong(what);
    }

    std::uint32_t hex4() {
        std::uint32_t result = 0;
        for (int i = 0; i < 4; ++i, ++position_) {
            char const c = position_ < text_.size() ? text_[position_] : '\0';
            int const value = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
            if (value < 0) wrong("four hexadecimal digits");
            result = result * 16 + static_cast<std::uint32_t>(value);
        }
        return result;
    }

    /// The position is behind a backslash.
    void append_escape(std::string& result) {
        constexpr std::string_view names = "\"\\/bfnrt", values = "\"\\/\b\f\n\r\t";
        char const c = position_ < text_.size() ? text_[position_] : '\0';
        if (std::size_t const i = names.find(c); i != names.npos) {
            result += values[i];
            ++position_;
            return;
        }
        if (c != 'u') wrong("an escape");
        ++position_;
        std::uint32_t code = hex4();
        if (code >= 0xd800 && code < 0xdc00) {  // a pair of surrogates makes one character
            if (text_.substr(position_, 2) != "\\u") wrong("the second half of a surrogate pair");
            position_ += 2;
            std::uint32_t const low = hex4();
            if (low < 0xdc00 || low > 0xdfff) wrong("the second half of a surrogate pair before this");
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        } else if (code >= 0xdc00 && code <= 0xdfff) {
            wrong("the first half of a surrogate pair before this");
        }
        detail::append_utf8(result, static_cast<char32_t>(code));
    }

    std::string_view text_;
    std::filesystem::path const& path_;
    std::uint64_t base_;
    std::size_t position_ = 0;
};

/// The text as a JSON string with its quotes. It must be UTF-8.
template <class OnDemand = void>
std::string json_quoted(std::string_view text) {
    constexpr char digits[] = "0123456789abcdef";
    std::string result = "\"";
    for (char const c : text) {
        if (static_cast<unsigned char>(c) < 0x20) {
            result += {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]};
        } else {
            if (c == '"' || c == '\\') result += '\\';
            result += c;
        }
    }
    return result + '"';
}

}  // namespace goldfinch::io
