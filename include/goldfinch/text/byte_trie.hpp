// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <goldfinch/config.hpp>

namespace goldfinch::detail {

/// Finds the longest of many byte strings that some text begins with. The nodes stand level by level, so the children of a node
/// are neighbours: their labels are one short run of bytes to search, and a node takes 9 bytes in all.
template <class OnDemand = void>
class byte_trie {
public:
    struct key {
        std::string_view text;  // not empty
        token id;               // not 0
    };

    /// `size` 0: no key fits.
    struct match {
        token id = 0;
        std::size_t size = 0;
    };

    /// `keys` sorted by text, no text twice. They need not outlive the trie.
    explicit byte_trie(std::vector<key> const& keys) {
        struct range {
            std::uint32_t first, last, depth;  // the keys below a node: they share their first `depth` bytes
        };
        std::vector<range> nodes{{0, static_cast<std::uint32_t>(keys.size()), 0}};
        labels_.push_back('\0');  // nothing leads to the root
        for (std::size_t node = 0; node < nodes.size(); ++node) {
            auto [first, last, depth] = nodes[node];
            bool const ends_here = first < last && keys[first].text.size() == depth;
            tokens_.push_back(ends_here ? keys[first++].id : 0);
            first_child_.push_back(static_cast<std::uint32_t>(nodes.size()));
            while (first < last) {
                char const label = keys[first].text[depth];
                std::uint32_t end = first + 1;
                while (end < last && keys[end].text[depth] == label) ++end;
                nodes.push_back({first, end, depth + 1});
                labels_.push_back(label);
                first = end;
            }
        }
        first_child_.push_back(static_cast<std::uint32_t>(nodes.size()));
    }

    match longest(std::string_view text) const {
        match best;
        std::size_t node = 0;
        for (std::size_t i = 0; i < text.size(); ++i) {
            std::size_t const first = first_child_[node], last = first_child_[node + 1];
            std::size_t const child = std::string_view(labels_).substr(first, last - first).find(text[i]);
            if (child == std::string_view::npos) break;
            node = first + child;
            if (tokens_[node] != 0) best = {tokens_[node], i + 1};
        }
        return best;
    }

private:
    std::string labels_;                      // the byte that leads to node i
    std::vector<token> tokens_;               // whose text ends at node i; 0: none
    std::vector<std::uint32_t> first_child_;  // the children of node i are nodes first_child_[i] to first_child_[i + 1] - 1
};

}  // namespace goldfinch::detail
