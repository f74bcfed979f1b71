// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>
#include <type_traits>

#include <goldfinch/batch.hpp>
#include <goldfinch/block.hpp>
#include <goldfinch/concepts.hpp>
#include <goldfinch/layer/list.hpp>
#include <goldfinch/layer/weights.hpp>

// What is said of blocks that cannot be: one sentence each, and nothing else, since whatever a compiler adds to a first error hides it.

namespace goldfinch {

/// Mixers with a member missing.
template <class TimeMix, class ChannelMix>
    requires(!mixer<TimeMix> || !mixer<ChannelMix>)
struct block<TimeMix, ChannelMix> {
    static constexpr bool sized = detail::has_width<TimeMix> && detail::has_width<ChannelMix>;
    static_assert(detail::has_width<TimeMix> && detail::has_width<ChannelMix>,
                  "goldfinch: a block takes a time mix and a channel mix, such as gold<C> and channel_mix<C>, each with a static width");
    static_assert(!sized || (detail::has_name<TimeMix> && detail::has_name<ChannelMix>),
                  "goldfinch: a mixer needs a name: static constexpr char const* name");
    static_assert(!sized || (detail::has_weights<TimeMix> && detail::has_weights<ChannelMix>),
                  "goldfinch: a mixer needs its parameters: template <class Backend> struct weights, with a list");
    static_assert(!sized || (detail::has_state<TimeMix> && detail::has_state<ChannelMix>),
                  "goldfinch: a mixer needs what it keeps of a sequence: template <class Backend> struct state, with a list, or an alias of no_state");
};

namespace detail {

template <class Part>
concept is_block = has_width<Part> && requires {
    typename Part::time_mix;
    typename Part::channel_mix;
};

/// Placeholder of what an attention mixer gets as its keys, for concept checks.
template <class Backend, std::size_t D>
struct some_keys {
    batch<typename Backend::scalar> const& sequences() const;
    void append(Backend const& be, inputs<Backend, D> k, inputs<Backend, D> v) const;
    template <std::size_t H>
    void attend(Backend const& be, inputs<Backend, D> q, outputs<Backend, D> y) const;
    template <class Mixer, class Weights>
    void attend(Backend const& be, Weights const& p, inputs<Backend, D> q, outputs<Backend, D> y) const;
};

/// Whether a mixer has a forward, which takes `more` between its state and its input; the input it may only read.
template <class Mixer, class Backend, class... More>
concept forwards = requires(Backend const& be, typename Mixer::template weights<Backend> const& p, typename Mixer::template state<Backend> const& s,
                            More const&... more, inputs<Backend, Mixer::width> x, outputs<Backend, Mixer::width> y) {
    Mixer::forward(be, p, s, more..., x, y);
};

/// Whether a time mix makes keys and values of positions, as those with shared keys do.
template <class Mixer, class Backend>
concept makes_keys = requires(Backend const& be, typename Mixer::template weights<Backend> const& p, batch<typename Backend::scalar> const& positions,
                              state_tensor<Backend, Mixer::width> before, inputs<Backend, Mixer::width> x, outputs<Backend, Mixer::width> y) {
    Mixer::key_value(be, p, positions, before, x, before, x, y, y);
};

/// Whether a list names each tensor in its struct once: those that it names lie at different places and fill the struct.
template <class Weights>
constexpr bool lists_all() {
    if constexpr (!listed<Weights>) {
        return true;  // the sentence about the list says it
    } else {
        Weights node{};
        void const* seen[sizeof(Weights) + 1] = {};
        std::size_t count = 0, bytes = 0;
        bool once = true;
        each_leaf(node, [&](list_name const&, auto& member) {
            for (std::size_t i = 0; i < count; ++i) once = once && seen[i] != static_cast<void const*>(&member);
            if (!once) return;
            seen[count++] = &member;
            bytes += sizeof(member);
        });
        return once && (std::is_empty_v<Weights> || bytes >= sizeof(Weights));
    }
}

/// What can be asked of a block's mixers only where the backend is known: its value is true, what is missing is a sentence.
template <class Block, class Backend>
struct checked_block : std::true_type {
    using time = typename Block::time_mix;
    using channel = typename Block::channel_mix;
    using keys = some_keys<Backend, Block::width>;
    static constexpr bool attends = Block::has_own_keys || Block::has_shared_keys;
    static_assert(listed<typename time::template weights<Backend>> && listed<typename channel::template weights<Backend>>,
                  "goldfinch: the weights of a mixer need a list of them: static constexpr void list(auto& self, auto const& f)");
    static_assert(lists_all<typename time::template weights<Backend>>() && lists_all<typename channel::template weights<Backend>>(),
                  "goldfinch: the list of a mixer's weights must name every tensor in them once, and nothing else can be in them");
    static_assert(listed<typename time::template state<Backend>> && listed<typename channel::template state<Backend>>,
                  "goldfinch: the state of a mixer needs a list of what is in it: static constexpr void list(auto& self, auto const& f)");
    static_assert(lists_all<typename time::template state<Backend>>() && lists_all<typename channel::template state<Backend>>(),
                  "goldfinch: the list of a mixer's state must name every tensor in it once, and nothing else can be in it");
    static_assert(attends || forwards<time, Backend>, "goldfinch: a time mix needs a static forward(backend, weights, state, x, y)");
    static_assert(!Block::has_own_keys || forwards<time, Backend, keys>,
                  "goldfinch: a time mix with keys of its own needs a static forward(backend, weights, state, cache, x, y)");
    static_assert(!Block::has_shared_keys || forwards<time, Backend, keys>,
                  "goldfinch: a time mix with shared keys needs a static forward(backend, weights, state, keys, x, y)");
    static_assert(!Block::has_shared_keys || makes_keys<time, Backend>,
                  "goldfinch: a time mix with shared keys needs a static key_value(backend, weights, positions, o_before, o, k_before, k, K, V)");
    static_assert(forwards<channel, Backend>, "goldfinch: a channel mix needs a static forward(backend, weights, state, x, y)");
};

/// Whether a block says how far back its output looks.
template <class Block>
concept tells_reach = requires {
    { Block::time_mix::reach + Block::channel_mix::reach } -> std::convertible_to<std::size_t>;
};

}  // namespace detail

/// A repeat of something that is no block.
template <class Block, std::size_t n>
    requires(!detail::is_block<Block>)
struct repeat<Block, n> {
    static_assert(detail::is_block<Block>, "goldfinch: repeat<Block, n> takes a block, such as block<gold<C>, channel_mix<C>>");
};

}  // namespace goldfinch
