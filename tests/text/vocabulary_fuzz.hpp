// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>

#include <goldfinch/error.hpp>
#include <goldfinch/text/world_tokenizer.hpp>

#include "paths.hpp"

namespace text_test {

/// One to three small changes: a byte replaced, inserted or removed, a bit flipped, a run copied elsewhere, the end cut off.
inline std::string mutated(std::string text, std::mt19937_64& random) {
    auto const below = [&random](std::size_t n) { return static_cast<std::size_t>(random() % n); };
    auto const any_byte = [&] {
        static constexpr std::string_view likely = "\\'\"b0123456789xuU \r\n\xc3\xed\xf0\xff";
        return below(2) == 0 ? likely[below(likely.size())] : static_cast<char>(static_cast<unsigned char>(below(256)));
    };
    for (std::size_t changes = 1 + below(3); changes > 0 && !text.empty(); --changes) {
        std::size_t const at = below(text.size());
        switch (below(12)) {
            case 0: case 1: case 2: case 3: text[at] = any_byte(); break;
            case 4: case 5: text.insert(at, 1, any_byte()); break;
            case 6: case 7: text.erase(at, 1); break;
            case 8: case 9: text[at] = static_cast<char>(text[at] ^ (1 << below(7))); break;
            case 10: text.insert(at, text.substr(below(text.size()), below(20))); break;
            default: text.resize(at); break;
        }
    }
    return text;
}

struct fuzz_result {
    std::size_t loaded = 0, refused = 0;
};

/// Loads mutations of the small vocabulary. Each must load, and then decode what it encodes, or be refused with load_error; throws
/// std::logic_error where a round trip fails. Other exceptions pass.
inline fuzz_result fuzz_vocabulary(std::size_t cases, std::uint64_t seed) {
    std::string const valid = contents(small_vocabulary());
    if (valid.empty()) throw std::runtime_error("no " + small_vocabulary().string());
    std::mt19937_64 random(seed);
    fuzz_result result;
    for (std::size_t i = 0; i < cases; ++i) {
        std::string const file = mutated(valid, random);
        try {
            auto const words = goldfinch::world_tokenizer::from_text(file);
            ++result.loaded;
            for (std::string_view text : {std::string_view("To be, or not to be: \xc3\xa9 12"), std::string_view(file).substr(0, 64)}) {
                try {
                    if (words.decode(words.encode(text)) != text) throw std::logic_error("round trip fails in case " + std::to_string(i));
                } catch (goldfinch::token_error const&) {  // a mutation may take the token of a byte away
                }
            }
        } catch (goldfinch::load_error const&) {
            ++result.refused;
        }
    }
    return result;
}

}  // namespace text_test
