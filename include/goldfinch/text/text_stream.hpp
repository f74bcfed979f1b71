// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <goldfinch/utf8.hpp>

namespace goldfinch::detail {

/// Turns the bytes of tokens into text that can be shown at once: whole UTF-8 characters, nothing of a stop string. Holds back
/// the beginning of a character and what a stop string may begin with. Each invalid sequence becomes one U+FFFD.
class text_stream {
public:
    /// `stop_strings` must outlive the stream; none of them is empty.
    explicit text_stream(std::vector<std::string> const& stop_strings) : stop_strings_(stop_strings) {}

    /// Takes the bytes of the next token; true if they complete a stop string. It and what follows is dropped.
    bool push(std::string_view bytes) {
        held_.append(bytes);
        std::size_t const stop = find_stop();
        if (stop == std::string::npos) return false;
        held_.resize(stop);
        return true;
    }

    /// The text that is ready now, often none. Valid until the next call.
    std::string_view take() { return release(held_.size() - possible_stop(), false); }

    /// All that is left, when no more bytes come.
    std::string_view finish() { return release(held_.size(), true); }

private:
    /// Where a stop string begins: of all in the text the one that ends first, and of several that end there the longest. So the result
    /// does not depend on how tokens divide the text. npos if there is none.
    std::size_t find_stop() const {
        std::size_t begin = std::string::npos, end = std::string::npos;
        for (std::string const& stop : stop_strings_) {
            std::size_t const found = held_.find(stop);
            if (found == std::string::npos) continue;
            if (found + stop.size() < end || (found + stop.size() == end && found < begin)) {
                begin = found;
                end = found + stop.size();
            }
        }
        return begin;
    }

    /// How many of the last bytes may be the beginning of a stop string.
    std::size_t possible_stop() const {
        std::size_t longest = 0;
        for (std::string const& stop : stop_strings_) {
            for (std::size_t n = std::min(stop.size() - 1, held_.size()); n > longest; --n) {
                if (std::string_view(held_).ends_with(std::string_view(stop).substr(0, n))) longest = n;
            }
        }
        return longest;
    }

    std::string_view release(std::size_t size, bool all) {
        ready_.clear();
        std::size_t at = 0;
        while (at < size) {
            auto const [kind, piece] = first_utf8(std::string_view(held_).substr(at, size - at));
            if (kind == utf8_kind::incomplete && !all) break;
            if (kind == utf8_kind::character) {
                ready_.append(held_, at, piece);
            } else {
                append_utf8(ready_, 0xfffd);
            }
            at += piece;
        }
        held_.erase(0, at);
        return ready_;
    }

    std::vector<std::string> const& stop_strings_;
    std::string held_;   // bytes not yet handed out
    std::string ready_;  // what the last take or finish returned
};

}  // namespace goldfinch::detail
