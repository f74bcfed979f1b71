// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace goldfinch::detail {

/// What some bytes begin with: a character; the first bytes of one whose others are missing, since the bytes end there; or bytes that
/// no character begins with.
enum class utf8_kind { character, incomplete, invalid };

/// The kind, and how many bytes are of it (at least 1). Of `invalid` bytes, as many as Unicode says one U+FFFD should replace: the
/// longest run that some character begins with, or one byte.
struct utf8_piece {
    utf8_kind kind;
    std::size_t size;
};

/// The first piece of `text`, which must not be empty. Source: The Unicode Standard, table 3-7 (well-formed byte sequences)
/// and section 3.9 (U+FFFD substitution of maximal subparts).
constexpr utf8_piece first_utf8(std::string_view text) {
    auto const byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    unsigned const lead = byte(0);
    if (lead < 0x80) return {utf8_kind::character, 1};
    if (lead < 0xc2 || lead > 0xf4) return {utf8_kind::invalid, 1};
    std::size_t const size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    // The second byte's range excludes overlong forms (E0, F0), surrogates (ED) and what lies past U+10FFFF (F4).
    unsigned low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    unsigned high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    for (std::size_t i = 1; i < size; ++i, low = 0x80, high = 0xbf) {
        if (i == text.size()) return {utf8_kind::incomplete, i};
        if (byte(i) < low || byte(i) > high) return {utf8_kind::invalid, i};
    }
    return {utf8_kind::character, size};
}

/// How many bytes there are before the first that is no UTF-8; the size of the text where all of it is.
constexpr std::size_t valid_utf8_prefix(std::string_view text) {
    std::size_t size = 0;
    while (size < text.size()) {
        utf8_piece const piece = first_utf8(text.substr(size));
        if (piece.kind != utf8_kind::character) break;
        size += piece.size;
    }
    return size;
}

/// Appends the UTF-8 form of a code point, which must not be a surrogate or past U+10FFFF.
inline void append_utf8(std::string& out, char32_t c) {
    auto const put = [&out](char32_t byte) { out.push_back(static_cast<char>(byte)); };
    auto const put_continuation = [&](int shift) { put(0x80 | (c >> shift & 0x3f)); };
    if (c < 0x80) {
        put(c);
    } else if (c < 0x800) {
        put(0xc0 | c >> 6);
        put_continuation(0);
    } else if (c < 0x10000) {
        put(0xe0 | c >> 12);
        put_continuation(6);
        put_continuation(0);
    } else {
        put(0xf0 | c >> 18);
        put_continuation(12);
        put_continuation(6);
        put_continuation(0);
    }
}

}  // namespace goldfinch::detail
