// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>
#include <string>
#include <type_traits>

#include <goldfinch/backend/cpu.hpp>
#include <goldfinch/cache/key_value_rows.hpp>
#include <goldfinch/concepts.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/io/metadata.hpp>
#include <goldfinch/layer/parameter.hpp>
#include <goldfinch/message.hpp>
#include <goldfinch/view.hpp>

namespace goldfinch {

namespace detail {

/// Whether a time mix attends to these keys.
template <class TimeMix, attends_to which>
constexpr bool attends() {
    if constexpr (attention_mixer<TimeMix>)
        return TimeMix::keys == which;
    else
        return false;
}

/// What a block of this time mix keeps of every position.
template <class TimeMix, class Backend, class Value>
using block_rows = std::conditional_t<attends<TimeMix, attends_to::own_keys>(), key_value_rows<Backend, Value, TimeMix::width>, no_rows>;

/// Stands for what a block above token_cat attends to (session.hpp's key_view).
struct some_keys {
    std::size_t position;
    template <std::size_t H, class Backend, std::size_t A>
    void attend(Backend const& be, sequence<typename Backend::scalar, A> q, outputs<Backend, A> y) const;
};

/// Stands for what lists are read with.
struct some_visitor {
    void operator()(list_name const& name, auto& member) const;
};

/// Whether weights or a state have a list.
template <class Node>
concept listed = requires(Node& node, some_visitor const& f) {
    Node::list(node, f);
};

/// The name of a layer, and the fields in which its config is not the model's: "gptalpha {rope_base = 10000}".
template <class Layer>
std::string mixer_text(config const& whole) {
    std::string text = Layer::name;
    if constexpr (requires { Layer::cfg.n_embd; }) {
        char const* before = " {";
        for (io::config_field const& field : io::config_fields) {
            if (io::field_value(Layer::cfg, field) == io::field_value(whole, field)) continue;
            append(text, {before, field.name, " = ", io::field_text(Layer::cfg, field)});
            before = ", ";
        }
        if (*before == ',') text += '}';
    }
    return text;
}

/// Whether a mixer has a forward, which takes `more` between its state and its input.
template <class Mixer, class Backend, class... More>
concept forwards = requires(Backend const& be, typename Mixer::template weights<Backend> const& p, typename Mixer::template state<Backend>& s,
                            More&... more, inputs<Backend, Mixer::width> const& x, outputs<Backend, Mixer::width> y) {
    Mixer::forward(be, p, s, more..., x, y);
};

/// Whether a time mix makes keys and values of positions, as those with shared keys do.
template <class Mixer, class Backend>
concept makes_keys = requires(Backend const& be, typename Mixer::template weights<Backend> const& p, input_row<Backend, Mixer::width> before,
                              outputs<Backend, Mixer::width> x) {
    Mixer::key_value(be, p, std::size_t{}, before, x, before, x, x, x);
};

}  // namespace detail

/// One block of a model: x += TimeMix(LN(x; ln1)); x += ChannelMix(LN(x; ln2)).
template <class TimeMix, class ChannelMix>
struct block {
    static_assert(TimeMix::width == ChannelMix::width, "goldfinch: the time mix and the channel mix of a block must have the same width");
    static_assert(!attention_mixer<ChannelMix>,
                  "goldfinch: the channel mix of a block, its second argument, attends to nothing: it cannot have keys");
    using time_mix = TimeMix;
    using channel_mix = ChannelMix;
    static constexpr std::size_t width = TimeMix::width;

    template <class Backend>
    struct weights {
        norm_weights<typename Backend::weight const, width> ln1, ln2;
        typename TimeMix::template weights<Backend> att;
        typename ChannelMix::template weights<Backend> ffn;

        static constexpr void list(auto& self, auto const& f) {
            f("ln1", self.ln1);
            f("ln2", self.ln2);
            f("att", self.att);
            f("ffn", self.ffn);
        }
    };

    /// Keys and values that the block keeps of its own are stored as Value.
    template <class Backend, class Value>
    struct state {
        typename TimeMix::template state<Backend> att;
        typename ChannelMix::template state<Backend> ffn;
        [[no_unique_address]] detail::block_rows<TimeMix, Backend, Value> rows;

        static constexpr void list(auto& self, auto const& f) {
            f("att", self.att);
            f("ffn", self.ffn);
        }
    };

    /// x [T, width] in place. An attention mixer over shared keys gets these.
    template <class Backend, class Value, class... Keys>
    static void forward(Backend const& be, weights<Backend> const& p, state<Backend, Value>& s, outputs<Backend, width> x, Keys const&... keys) {
        temporaries tmp(be);
        auto const h = tmp.sequence<typename Backend::scalar, width>(x.size), y = tmp.sequence<typename Backend::scalar, width>(x.size);
        layer_norm(be, p.ln1.weight, p.ln1.bias, x, h);
        if constexpr (detail::attends<TimeMix, attends_to::own_keys>())
            TimeMix::forward(be, p.att, s.att, s.rows, h, y);
        else
            TimeMix::forward(be, p.att, s.att, keys..., h, y);
        add(be, y, x);
        layer_norm(be, p.ln2.weight, p.ln2.bias, x, h);
        ChannelMix::forward(be, p.ffn, s.ffn, h, y);
        add(be, y, x);
    }

    /// "(gold, channel_mix)", where the model's config is `whole`.
    static std::string description(config const& whole) {
        return detail::message({"(", detail::mixer_text<TimeMix>(whole), ", ", detail::mixer_text<ChannelMix>(whole), ")"});
    }
};

/// What a block cannot be made of, told and nothing more: whatever a compiler adds to a first error hides it.
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

/// What can be asked of a block's mixers only where the backend is known: its value is true, what is missing is a sentence.
template <class Block, class Backend>
struct checked_block : std::true_type {
    using time = typename Block::time_mix;
    using channel = typename Block::channel_mix;
    static constexpr bool own = attends<time, attends_to::own_keys>(), shared = attends<time, attends_to::shared_keys>();
    using keys = std::conditional_t<own, block_rows<time, Backend, float>, some_keys const>;
    template <class Mixer>
    static constexpr bool lists_weights() {
        if constexpr (listed<typename Mixer::template weights<Backend>>)
            return lists_all<typename Mixer::template weights<Backend>>();
        else
            return true;  // the sentence about the list says it
    }
    static_assert(listed<typename time::template weights<Backend>> && listed<typename channel::template weights<Backend>>,
                  "goldfinch: the weights of a mixer need a list of them: static constexpr void list(auto& self, auto const& f)");
    static_assert(lists_weights<time>() && lists_weights<channel>(),
                  "goldfinch: the list of a mixer's weights must name every tensor in them, and nothing else can be in them");
    static_assert(listed<typename time::template state<Backend>> && listed<typename channel::template state<Backend>>,
                  "goldfinch: the state of a mixer needs a list of what is in it: static constexpr void list(auto& self, auto const& f)");
    static_assert(!recurrent_mixer<time> || forwards<time, Backend>, "goldfinch: a time mix needs a static forward(backend, weights, state, x, y)");
    static_assert(!own || forwards<time, Backend, keys>,
                  "goldfinch: a time mix with keys of its own needs a static forward(backend, weights, state, cache, x, y)");
    static_assert(!shared || forwards<time, Backend, keys>,
                  "goldfinch: a time mix with shared keys needs a static forward(backend, weights, state, keys, x, y)");
    static_assert(!shared || makes_keys<time, Backend>,
                  "goldfinch: a time mix with shared keys needs a static key_value(backend, weights, position, o_prev, o, k_prev, k, K, V)");
    static_assert(forwards<channel, Backend>, "goldfinch: a channel mix needs a static forward(backend, weights, state, x, y)");
};

/// Whether a block says how far back its output looks.
template <class Block>
concept tells_reach = requires {
    { Block::time_mix::reach + Block::channel_mix::reach } -> std::convertible_to<std::size_t>;
};

}  // namespace detail

/// n blocks of one type. Depth is a loop, not a type: code and compile time do not grow with it.
template <class Block, std::size_t n>
struct repeat {
    using block = Block;
    static constexpr std::size_t n_blocks = n;
    static constexpr std::size_t width = Block::width;
};

template <class Block, std::size_t n>
    requires(!detail::is_block<Block>)
struct repeat<Block, n> {
    static_assert(detail::is_block<Block>, "goldfinch: repeat<Block, n> takes a block, such as block<gold<C>, channel_mix<C>>");
};

}  // namespace goldfinch
