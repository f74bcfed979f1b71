// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include <goldfinch/block.hpp>
#include <goldfinch/concepts.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/layer/parameter.hpp>
#include <goldfinch/layer/token_cat.hpp>
#include <goldfinch/message.hpp>
#include <goldfinch/view.hpp>

namespace goldfinch {

namespace detail {

template <class Part>
concept is_repeat = requires {
    typename Part::block;
    Part::n_blocks;
};
template <class Part>
concept is_token_cat = has_name<Part> && has_weights<Part> && requires {
    Part::key_width;
};

template <class Part, class Backend>
inline constexpr bool checked_part = checked_block<Part, Backend>::value;
template <class Block, std::size_t n, class Backend>
inline constexpr bool checked_part<repeat<Block, n>, Backend> = checked_block<Block, Backend>::value;
template <config C, class Backend>
inline constexpr bool checked_part<token_cat<C>, Backend> = true;

template <class Part>
concept is_part = is_block<Part> || is_repeat<Part> || is_token_cat<Part>;
template <class... Parts>
inline constexpr std::size_t token_cats = (std::size_t{is_token_cat<Parts>} + ... + 0);

/// A part of a stack as a repeat: a single block is one.
template <class Part>
auto as_repeat() {
    if constexpr (is_repeat<Part>)
        return Part{};
    else
        return repeat<Part, 1>{};
}

}  // namespace detail

/// Blocks from the bottom up, with at most one token_cat among them. Below it, and everywhere without it, every token runs
/// through every block. The blocks above it attend to the shared key cache, and run when logits are asked for.
template <class... Parts>
struct stack {
private:
    static constexpr std::size_t parts = sizeof...(Parts);
    static constexpr std::size_t divide() {
        std::size_t i = 0, at = parts;
        ((detail::is_token_cat<Parts> ? void(at = i) : void(), ++i), ...);
        return at;
    }
    template <std::size_t i>
    using part = std::tuple_element_t<i, std::tuple<Parts...>>;
    template <std::size_t i>
    using repeat_of = decltype(detail::as_repeat<part<i>>());

    template <class F, std::size_t... i>
    static constexpr void each(F const& f, std::index_sequence<i...>) {
        (f(std::integral_constant<std::size_t, i>{}), ...);
    }
    /// f(integral_constant i) for every part.
    template <class F>
    static constexpr void each_part(F const& f) {
        each(f, std::make_index_sequence<parts>{});
    }

public:
    static constexpr std::size_t token_cat_at = divide();  ///< index of the token_cat part; sizeof...(Parts) if there is none
    static constexpr bool has_keys = token_cat_at < parts;  ///< whether sessions have the shared key cache

private:
    template <std::size_t i>
    static constexpr std::size_t blocks_of() {
        if constexpr (i == token_cat_at)
            return 0;
        else
            return repeat_of<i>::n_blocks;
    }
    static constexpr std::size_t blocks_in(std::size_t first, std::size_t last) {
        std::size_t n = 0;
        each_part([&](auto i) {
            if (i >= first && i < last) n += blocks_of<i>();
        });
        return n;
    }
    /// Parts between `first` and `last` whose blocks attend to the shared keys.
    static constexpr std::size_t sharing(std::size_t first, std::size_t last) {
        std::size_t n = 0;
        each_part([&](auto i) {
            if constexpr (i != token_cat_at) {
                if (i >= first && i < last && detail::attends<typename repeat_of<i>::block::time_mix, attends_to::shared_keys>()) ++n;
            }
        });
        return n;
    }
    /// Whether all blocks above token_cat that attend to its keys say how far back they look.
    static constexpr bool upper_tell_reach() {
        bool all = true;
        each_part([&](auto i) {
            if constexpr (i > token_cat_at) {
                using b = typename repeat_of<i>::block;
                all = all && (!detail::attends<typename b::time_mix, attends_to::shared_keys>() || detail::tells_reach<b>);
            }
        });
        return all;
    }
    static_assert(sharing(0, token_cat_at) == 0, "goldfinch: a GOLD block needs token_cat below it");
    static_assert(!has_keys || sharing(token_cat_at, parts) == parts - token_cat_at - 1,
                  "goldfinch: above token_cat there can only be blocks that attend to its keys, such as gold");
    static_assert(!has_keys || blocks_in(token_cat_at + 1, parts) > 0,
                  "goldfinch: token_cat needs blocks above it that attend to its keys, such as gold");
    static_assert(upper_tell_reach(), "goldfinch: a mixer above token_cat needs a static reach: how many tokens back its output looks, such as 0");

public:
    static constexpr std::size_t n_blocks = blocks_in(0, parts);  ///< depth
    static constexpr std::size_t n_gold = has_keys ? blocks_in(token_cat_at + 1, parts) : 0;  ///< blocks above token_cat
    static constexpr std::size_t width = part<0>::width;
    static_assert(((Parts::width == width) && ...), "goldfinch: all parts of a stack must have the same width");

    /// Values of a compressed key; 0 without token_cat.
    static constexpr std::size_t key_width = [] {
        if constexpr (has_keys)
            return part<token_cat_at>::key_width;
        else
            return std::size_t{0};
    }();

    /// How many tokens before the last the upper blocks' output at the last token depends on, beyond the key cache.
    static constexpr std::size_t reach = [] {
        std::size_t sum = 0;
        each_part([&](auto i) {
            if constexpr (i > token_cat_at) {
                using b = typename repeat_of<i>::block;
                sum += repeat_of<i>::n_blocks * (b::time_mix::reach + b::channel_mix::reach);
            }
        });
        return sum;
    }();

private:
    template <class Backend, std::size_t i>
    static auto part_weights() {
        if constexpr (i == token_cat_at)
            return typename part<i>::template weights<Backend>{};
        else
            return std::array<typename repeat_of<i>::block::template weights<Backend>, blocks_of<i>()>{};
    }
    template <class Backend, class Value, std::size_t i>
    static auto part_state() {
        if constexpr (i == token_cat_at)
            return no_state{};
        else
            return std::array<typename repeat_of<i>::block::template state<Backend, Value>, blocks_of<i>()>{};
    }
    template <class Backend, std::size_t... i>
    static auto all_weights(std::index_sequence<i...>) {
        return std::tuple{part_weights<Backend, i>()...};
    }
    template <class Backend, class Value, std::size_t... i>
    static auto all_states(std::index_sequence<i...>) {
        return std::tuple{part_state<Backend, Value, i>()...};
    }
    template <std::size_t i>
    static constexpr bool has_rows() {
        if constexpr (i == token_cat_at)
            return false;
        else
            return detail::attends<typename repeat_of<i>::block::time_mix, attends_to::own_keys>();
    }

    /// f of every block's entry, by its index in the model, and of token_cat's by an empty name.
    static constexpr void list_parts(auto& self, auto const& f) {
        std::size_t index = 0;
        each_part([&](auto i) {
            auto& entry = std::get<i>(self.entries);
            if constexpr (i == token_cat_at)
                f("", entry);
            else
                for (auto& b : entry) f({"blocks.", index++}, b);
        });
    }

public:
    template <class Backend>
    struct weights {
        decltype(all_weights<Backend>(std::make_index_sequence<parts>{})) entries;
        static constexpr void list(auto& self, auto const& f) { list_parts(self, f); }
    };

    /// Of one sequence. Blocks with keys and values of their own keep them in it, as Value.
    template <class Backend, class Value>
    struct state {
        decltype(all_states<Backend, Value>(std::make_index_sequence<parts>{})) entries;
        static constexpr void list(auto& self, auto const& f) { list_parts(self, f); }

        /// f(rows) of every block with keys and values of its own; they grow, and are not in the list.
        static constexpr void each_rows([[maybe_unused]] auto& self, [[maybe_unused]] auto const& f) {
            each_part([&](auto i) {
                if constexpr (has_rows<i>())
                    for (auto& b : std::get<i>(self.entries)) f(b.rows);
            });
        }
        /// Bytes that these rows take for a position.
        static constexpr std::size_t row_bytes = [] {
            std::size_t sum = 0;
            each_part([&](auto i) {
                if constexpr (has_rows<i>())
                    sum += blocks_of<i>() * detail::block_rows<typename repeat_of<i>::block::time_mix, Backend, Value>::row_bytes;
            });
            return sum;
        }();

        /// Forgets what the blocks above token_cat have seen.
        void clear_upper() {
            each_part([&](auto i) {
                if constexpr (i > token_cat_at)
                    for (auto& b : std::get<i>(entries))
                        detail::each_state(b, [](typename Backend::scalar* values, std::size_t n) { std::fill_n(values, n, 0); });
            });
        }
    };

    /// x [T, width] in place through the blocks below token_cat.
    template <class Backend, class Value>
    static void forward_lower(Backend const& be, weights<Backend> const& p, state<Backend, Value>& s, outputs<Backend, width> x) {
        each_part([&](auto i) {
            if constexpr (i < token_cat_at)
                for (std::size_t b = 0; b < blocks_of<i>(); ++b)
                    repeat_of<i>::block::forward(be, std::get<i>(p.entries)[b], std::get<i>(s.entries)[b], x);
        });
    }

    /// x [T, width] in place through the blocks above token_cat; keys(g) is what the g-th of them attends to.
    template <class Backend, class Value, class Keys>
    static void forward_upper(Backend const& be, weights<Backend> const& p, state<Backend, Value>& s, Keys const& keys, outputs<Backend, width> x) {
        std::size_t g = 0;
        each_part([&](auto i) {
            if constexpr (i > token_cat_at)
                for (std::size_t b = 0; b < blocks_of<i>(); ++b)
                    repeat_of<i>::block::forward(be, std::get<i>(p.entries)[b], std::get<i>(s.entries)[b], x, keys(g++));
        });
    }

    /// f(time mix's type, its weights) of the g-th block above token_cat.
    template <class Backend, class F>
    static void with_upper(weights<Backend> const& p, std::size_t g, F const& f) {
        each_part([&](auto i) {
            if constexpr (i > token_cat_at) {
                constexpr std::size_t first = blocks_in(token_cat_at + 1, i);
                if (g >= first && g < first + blocks_of<i>()) f(typename repeat_of<i>::block::time_mix{}, std::get<i>(p.entries)[g - first].att);
            }
        });
    }

    /// The parameters of token_cat.
    template <class Backend>
    static auto const& token_cat_weights(weights<Backend> const& p) {
        return std::get<token_cat_at>(p.entries);
    }
    /// The token_cat part, where there is one.
    using cat = std::tuple_element_t<has_keys ? token_cat_at : 0, std::tuple<Parts...>>;

    /// Asserts what can be asked of the blocks only where the backend is known.
    template <class Backend>
    static constexpr bool checked = (detail::checked_part<Parts, Backend> && ...);

    /// The parts in words, as a saved model of config `whole` carries them.
    static std::string description(config const& whole) {
        std::string text;
        each_part([&](auto i) {
            text += text.empty() ? "" : ", ";
            if constexpr (i == token_cat_at)
                text += detail::mixer_text<part<i>>(whole);
            else
                detail::append(text, {blocks_of<i>(), " * ", repeat_of<i>::block::description(whole)});
        });
        return text;
    }
};

template <class... Parts>
    requires(sizeof...(Parts) == 0 || !(detail::is_part<Parts> && ...) || detail::token_cats<Parts...> > 1)
struct stack<Parts...> {
    static_assert(sizeof...(Parts) > 0, "goldfinch: a stack needs at least one block");
    static_assert((detail::is_part<Parts> && ...), "goldfinch: a stack is made of block<...>, repeat<block<...>, n> and at most one token_cat<C>");
    static_assert(detail::token_cats<Parts...> <= 1, "goldfinch: a stack has at most one token_cat");
};

}  // namespace goldfinch
