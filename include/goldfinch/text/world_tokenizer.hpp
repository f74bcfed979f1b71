// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <goldfinch/config.hpp>
#include <goldfinch/error.hpp>
#include <goldfinch/io/mapped_file.hpp>
#include <goldfinch/message.hpp>
#include <goldfinch/text/byte_trie.hpp>
#include <goldfinch/text/vocabulary.hpp>

namespace goldfinch {

/// The RWKV World tokenizer: greedy longest match over bytes. Ids are those of its vocabulary file (rwkv_vocab_v20230424.txt:
/// 1 to 65529); id 0 is the end of text. Copies share the vocabulary. Source: BlinkDL/ChatRWKV, tokenizer/rwkv_tokenizer.py.
template <class OnDemand = void>
class basic_world_tokenizer {
public:
    /// Reads a vocabulary file: `index python-literal byte-length` a line. Throws load_error naming the file, and the line that is
    /// malformed or repeats an id or a text.
    explicit basic_world_tokenizer(std::filesystem::path const& path) : basic_world_tokenizer(read(mapped_file(path))) {}

    /// As the constructor, from the contents of a file; `name` stands for the file in errors.
    static basic_world_tokenizer from_text(std::string_view contents, std::string name = "vocabulary") {
        return basic_world_tokenizer(detail::vocabulary_parser(contents, std::move(name)).parse());
    }

    /// The tokens of `text`, never 0. Any bytes will do. Throws token_error for a byte no token begins with, which the official
    /// vocabulary does not have.
    std::vector<token> encode(std::string_view text) const {
        std::vector<token> tokens;
        tokens.reserve(text.size() / 4 + 1);  // typical of English
        for (std::size_t at = 0; at < text.size();) {
            auto const [id, size] = data_->trie.longest(text.substr(at));
            if (size == 0) {
                throw token_error(detail::message({"goldfinch: byte ", unsigned{static_cast<unsigned char>(text[at])}, " at offset ", at,
                                                   " begins no token of ", data_->words.name}));
            }
            tokens.push_back(id);
            at += size;
        }
        return tokens;
    }

    /// The bytes of `tokens`, which may end amid a UTF-8 character. 0 and ids without text decode to nothing.
    std::string decode(std::span<token const> tokens) const {
        std::string bytes;
        for (token const id : tokens) bytes.append(text(id));
        return bytes;
    }

    /// The bytes of one token, valid while a copy of this tokenizer lives; empty for 0 and ids without text.
    std::string_view text(token id) const {
        if (id >= data_->texts.size()) return {};
        auto const [offset, size] = data_->texts[id];
        return std::string_view(data_->words.bytes).substr(offset, size);
    }

private:
    struct place {
        std::uint32_t offset = 0, size = 0;  // in words.bytes
    };

    struct data {
        detail::vocabulary words;
        std::vector<place> texts;  // by id
        detail::byte_trie<> trie;
    };

    static detail::vocabulary read(mapped_file<> const& file) {
        return detail::vocabulary_parser(io::as_text(file.bytes()), file.path().string()).parse();
    }

    explicit basic_world_tokenizer(detail::vocabulary words) {
        std::vector<place> texts = by_id(words);
        detail::byte_trie<> trie(sorted_keys(words));
        words.entries = {};
        data_ = std::make_shared<data const>(data{std::move(words), std::move(texts), std::move(trie)});
    }

    static std::vector<place> by_id(detail::vocabulary const& words) {
        token largest = 0;
        for (auto const& entry : words.entries) largest = std::max(largest, entry.id);
        std::vector<place> texts(largest + std::size_t{1});
        for (std::size_t i = 0; i < words.entries.size(); ++i) {
            auto const [id, offset, size] = words.entries[i];
            if (texts[id].size != 0) words.fail(i + 1, {"id ", id, " is repeated"});
            texts[id] = {offset, size};
        }
        return texts;
    }

    static std::vector<detail::byte_trie<>::key> sorted_keys(detail::vocabulary const& words) {
        std::vector<detail::byte_trie<>::key> keys;
        keys.reserve(words.entries.size());
        for (auto const& entry : words.entries) keys.push_back({words.text(entry), entry.id});
        std::sort(keys.begin(), keys.end(), [](auto const& a, auto const& b) { return a.text < b.text; });
        auto const twice = std::adjacent_find(keys.begin(), keys.end(), [](auto const& a, auto const& b) { return a.text == b.text; });
        if (twice != keys.end()) {
            // The later line of the two is the one to name.
            auto const has_id = [](token id) { return [id](auto const& entry) { return entry.id == id; }; };
            auto const first = std::find_if(words.entries.begin(), words.entries.end(), has_id(twice->id));
            auto const second = std::find_if(words.entries.begin(), words.entries.end(), has_id((twice + 1)->id));
            auto const [a, b] = std::minmax(first, second);
            auto const line = [&](auto entry) { return static_cast<std::size_t>(entry - words.entries.begin()) + 1; };
            words.fail(line(b), {"the text of line ", line(a), " is repeated"});
        }
        return keys;
    }

    std::shared_ptr<data const> data_;
};

/// What programs name: see basic_world_tokenizer.
using world_tokenizer = basic_world_tokenizer<>;

}  // namespace goldfinch
