// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <type_traits>

#include <goldfinch/block.hpp>
#include <goldfinch/concepts.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/layer/token_cat.hpp>

// What a stack can be made of, and what is said of one that cannot be.

namespace goldfinch::detail {

template <class Part>
concept is_repeat = requires {
    typename Part::block;
    Part::n_blocks;
};
template <class Part>
concept is_token_cat = has_name<Part> && has_weights<Part> && requires {
    Part::key_width;
};
template <class Part>
concept is_part = is_block<Part> || is_repeat<Part> || is_token_cat<Part>;
template <class... Parts>
inline constexpr std::size_t token_cats = (std::size_t{is_token_cat<Parts>} + ... + 0);

template <class Part, class Backend>
inline constexpr bool checked_part = checked_block<Part, Backend>::value;
template <class Block, std::size_t n, class Backend>
inline constexpr bool checked_part<repeat<Block, n>, Backend> = checked_block<Block, Backend>::value;
template <config C, class Backend>
inline constexpr bool checked_part<token_cat<C>, Backend> = true;

/// Parameters of nothing.
struct no_weights {
    static constexpr void list(auto&, auto const&) {}
};

/// How far back the blocks above token_cat look.
template <class Block>
constexpr std::size_t reach_of() {
    if constexpr (tells_reach<Block>)
        return Block::time_mix::reach + Block::channel_mix::reach;
    else
        return 0;
}

template <class... Repeats>
struct segment;

template <class Lower, class TokenCat, class Upper>
struct stack_checks;

/// A stack with token_cat: its value is true, what is wrong is a sentence.
template <class... Lower, class TokenCat, class... Upper>
struct stack_checks<segment<Lower...>, TokenCat, segment<Upper...>> : std::true_type {
    static_assert((!Lower::block::has_shared_keys && ...), "goldfinch: a GOLD block needs token_cat below it");
    static_assert((Upper::block::has_shared_keys && ...),
                  "goldfinch: above token_cat there can only be blocks that attend to its keys, such as gold");
    static_assert((Upper::n_blocks + ... + std::size_t{0}) > 0, "goldfinch: token_cat needs blocks above it that attend to its keys, such as gold");
    static_assert((tells_reach<typename Upper::block> && ...),
                  "goldfinch: a mixer above token_cat needs a static reach: how many tokens back its output looks, such as 0");

    template <class First, class... Rest>
    static constexpr std::size_t width_of = First::width;
    static constexpr std::size_t key_width = TokenCat::key_width;
    static constexpr std::size_t reach = ((Upper::n_blocks * reach_of<typename Upper::block>()) + ... + 0);
    template <class Backend>
    using token_cat_weights = typename TokenCat::template weights<Backend>;
};

/// One without.
template <class... Lower>
struct stack_checks<segment<Lower...>, void, segment<>> : std::true_type {
    static_assert((!Lower::block::has_shared_keys && ...), "goldfinch: a GOLD block needs token_cat below it");

    template <class First, class... Rest>
    static constexpr std::size_t width_of = First::width;
    static constexpr std::size_t key_width = 0, reach = 0;
    template <class Backend>
    using token_cat_weights = no_weights;
};

}  // namespace goldfinch::detail
