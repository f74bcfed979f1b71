// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <tuple>
#include <type_traits>

#include <goldfinch/block.hpp>
#include <goldfinch/cache/own_keys.hpp>
#include <goldfinch/concepts.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/detail/stack_checks.hpp>
#include <goldfinch/layer/state.hpp>
#include <goldfinch/layer/weights.hpp>
#include <goldfinch/message.hpp>

namespace goldfinch {

namespace detail {

/// Runs of blocks, bottom up: the blocks below token_cat, or those above it.
template <class... Repeats>
struct segment {
    static constexpr std::size_t n_blocks = (Repeats::n_blocks + ... + 0);
    /// Blocks with keys and values of their own.
    static constexpr std::size_t n_own_keys = ((Repeats::block::has_own_keys ? Repeats::n_blocks : 0) + ... + 0);

    /// The blocks' names in a checkpoint are numbered from First on.
    template <class Backend, std::size_t First>
    struct weights {
        std::tuple<std::array<typename Repeats::block::template weights<Backend>, Repeats::n_blocks>...> repeats;

        static constexpr void list(auto& self, auto const& f) {
            std::size_t index = First;
            std::apply([&](auto&... block_lists) { (list_blocks(block_lists, index, f), ...); }, self.repeats);
        }

    private:
        static constexpr void list_blocks(auto& blocks, std::size_t& index, auto const& f) {
            for (auto& block : blocks) f({"blocks.", index++}, block);
        }
    };

    /// Elements of the blocks' states for a sequence.
    template <class Backend>
    static constexpr std::size_t state_elements = ((Repeats::n_blocks * state_size<typename Repeats::block::template state<Backend>>) + ... + 0);

    /// f(type_identity of the block, its weights) for every block in order.
    template <class Weights, class F>
    static constexpr void each_block(Weights& p, F const& f) {
        std::apply([&](auto&... block_lists) { (each_of<Repeats>(block_lists, f), ...); }, p.repeats);  // a name of its own: -Wshadow sees packs
    }

    /// x [T, width] in place through the blocks, whose states begin at `offset`; keys_of(type_identity of the block, how many blocks came
    /// before) is what a block attends to.
    template <class Backend, class Weights, class KeysOf, class Outputs>
    static void forward(Backend const& be, Weights const& p, batch<typename Backend::scalar> const& sequences, std::size_t offset,
                        KeysOf const& keys_of, Outputs x) {
        std::size_t index = 0;
        each_block(p, [&](auto type, auto const& block_weights) {
            using block = typename decltype(type)::type;
            using state = typename block::template state<Backend>;
            block::forward(be, block_weights, state_at<state>(sequences, offset), keys_of(type, index++), x);
            offset += state_size<state>;
        });
    }

private:
    template <class Repeat>
    static constexpr void each_of(auto& blocks, auto const& f) {
        for (auto& block : blocks) f(std::type_identity<typename Repeat::block>{}, block);
    }
};

/// A part of a stack as a repeat: a single block is one.
template <class Part>
struct as_repeat : std::type_identity<Part> {};
template <is_block Part>
struct as_repeat<Part> : std::type_identity<repeat<Part, 1>> {};

/// The parts of a stack as a segment below token_cat, token_cat (or void), and a segment above it.
template <class Below, class... Parts>
struct divided {
    using lower = Below;
    using token_cat = void;
    using upper = segment<>;
};
template <class... Below, class Part, class... Rest>
struct divided<segment<Below...>, Part, Rest...> : divided<segment<Below..., typename as_repeat<Part>::type>, Rest...> {};
template <class... Below, is_token_cat Part, class... Rest>
struct divided<segment<Below...>, Part, Rest...> {
    using lower = segment<Below...>;
    using token_cat = Part;
    using upper = segment<typename as_repeat<Rest>::type...>;
};

}  // namespace detail

/// Blocks from the bottom up, with at most one token_cat among them. Below it, and everywhere without it, every token runs
/// through every block. The blocks above it attend to the shared key cache, and run when logits are asked for.
template <class... Parts>
struct stack {
private:
    using parts = detail::divided<detail::segment<>, Parts...>;
    using checks = detail::stack_checks<typename parts::lower, typename parts::token_cat, typename parts::upper>;
    static_assert(checks::value);  // where it is not, a sentence has said why

public:
    using lower = typename parts::lower;  ///< the blocks that every token runs through
    using cat = typename parts::token_cat;  ///< token_cat, or void
    using upper = typename parts::upper;  ///< the blocks that run when logits are asked for

    static constexpr bool has_keys = !std::is_void_v<cat>;  ///< whether sessions have the shared key cache
    static constexpr std::size_t n_blocks = lower::n_blocks + upper::n_blocks;  ///< depth
    static constexpr std::size_t n_gold = upper::n_blocks;  ///< blocks above token_cat
    static constexpr std::size_t n_own_keys = lower::n_own_keys;  ///< blocks with keys and values of their own
    static constexpr std::size_t width = checks::template width_of<Parts...>;
    static_assert(((Parts::width == width) && ...), "goldfinch: all parts of a stack must have the same width");

    /// Values of a compressed key; 0 without token_cat.
    static constexpr std::size_t key_width = checks::key_width;

    /// How many tokens before the last the upper blocks' output at the last token depends on, beyond the key cache.
    static constexpr std::size_t reach = checks::reach;

    template <class Backend>
    struct weights {
        typename lower::template weights<Backend, 0> below;
        typename checks::template token_cat_weights<Backend> token_cat;
        typename upper::template weights<Backend, lower::n_blocks> above;

        static constexpr void list(auto& self, auto const& f) {
            f("", self.below);
            f("", self.token_cat);
            f("", self.above);
        }
    };

    /// Elements of a sequence's state: the lower blocks', then the upper blocks'.
    template <class Backend>
    static constexpr std::size_t lower_state = lower::template state_elements<Backend>;
    template <class Backend>
    static constexpr std::size_t upper_state = upper::template state_elements<Backend>;

    /// x [T, width] in place through the blocks below token_cat. own[i]: the keys and values that sequence i's blocks keep of their own.
    template <class Backend, class Rows>
    static void forward_lower(Backend const& be, weights<Backend> const& p, batch<typename Backend::scalar> const& sequences, Rows* const* own,
                              outputs<Backend, width> x) {
        std::size_t attending = 0;
        lower::forward(
            be, p.below, sequences, 0,
            [&](auto type, std::size_t) {
                if constexpr (decltype(type)::type::has_own_keys)
                    return detail::own_keys<Backend, Rows, width>(sequences, own, attending++);
                else
                    return detail::no_rows{};
            },
            x);
    }

    /// x [T, width] in place through the blocks above token_cat, which attend to keys.block(0), keys.block(1), ...
    template <class Backend, class Keys>
    static void forward_upper(Backend const& be, weights<Backend> const& p, batch<typename Backend::scalar> const& sequences, Keys const& keys,
                              outputs<Backend, width> x) {
        upper::forward(be, p.above, sequences, lower_state<Backend>, [&](auto, std::size_t block) { return keys.block(block); }, x);
    }

    /// Asserts what can be asked of the blocks only where the backend is known.
    template <class Backend>
    static constexpr bool checked = (detail::checked_part<Parts, Backend> && ...);

    /// The parts in words, as a saved model of config `whole` carries them.
    static std::string description(config const& whole) {
        std::string text;
        (append_part<Parts>(text, whole), ...);
        return text;
    }

private:
    template <class Part>
    static void append_part(std::string& text, config const& whole) {
        text += text.empty() ? "" : ", ";
        if constexpr (detail::is_token_cat<Part>) {
            text += detail::mixer_text<Part>(whole);
        } else {
            using part = typename detail::as_repeat<Part>::type;
            detail::append(text, {part::n_blocks, " * ", part::block::description(whole)});
        }
    }
};

/// Parts of which there can be no stack.
template <class... Parts>
    requires(sizeof...(Parts) == 0 || !(detail::is_part<Parts> && ...) || detail::token_cats<Parts...> > 1)
struct stack<Parts...> {
    static_assert(sizeof...(Parts) > 0, "goldfinch: a stack needs at least one block");
    static_assert((detail::is_part<Parts> && ...), "goldfinch: a stack is made of block<...>, repeat<block<...>, n> and at most one token_cat<C>");
    static_assert(detail::token_cats<Parts...> <= 1, "goldfinch: a stack has at most one token_cat");
};

}  // namespace goldfinch
