// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <goldfinch/config.hpp>

namespace goldfinch {

/// One token a byte: ids 0 to 255 are the byte's value, for models with a vocabulary of 256.
struct byte_tokenizer {
    /// The bytes of `text` as tokens.
    std::vector<token> encode(std::string_view text) const {
        std::vector<token> tokens;
        tokens.reserve(text.size());
        for (char const c : text) tokens.push_back(static_cast<unsigned char>(c));
        return tokens;
    }

    /// The bytes of `tokens`. Ids above 255 have no text and decode to nothing, as in world_tokenizer: a model may keep such ids
    /// as marks.
    std::string decode(std::span<token const> tokens) const {
        std::string text;
        text.reserve(tokens.size());
        for (token const id : tokens) {
            if (id <= 255) text.push_back(static_cast<char>(static_cast<unsigned char>(id)));
        }
        return text;
    }
};

}  // namespace goldfinch
