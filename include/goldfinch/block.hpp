// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>
#include <string>
#include <type_traits>

#include <goldfinch/concepts.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/io/metadata.hpp>
#include <goldfinch/layer/state.hpp>
#include <goldfinch/layer/weights.hpp>
#include <goldfinch/message.hpp>

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
    static constexpr bool has_own_keys = detail::attends<TimeMix, attends_to::own_keys>();
    static constexpr bool has_shared_keys = detail::attends<TimeMix, attends_to::shared_keys>();

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

    template <class Backend>
    struct state {
        typename TimeMix::template state<Backend> att;
        typename ChannelMix::template state<Backend> ffn;

        static constexpr void list(auto& self, auto const& f) {
            f("att", self.att);
            f("ffn", self.ffn);
        }
    };

    /// x [T, width] in place; an attention mixer attends to `keys`.
    template <class Backend, class Keys>
    static void forward(Backend const& be, weights<Backend> const& p, state<Backend> const& s, [[maybe_unused]] Keys const& keys,
                        outputs<Backend, width> x) {
        auto const normalised = temporary<width>(be, x.size), y = temporary<width>(be, x.size);
        inputs<Backend, width> const h = normalised;
        layer_norm(be, p.ln1, x, normalised);
        if constexpr (attention_mixer<TimeMix>)
            TimeMix::forward(be, p.att, s.att, keys, h, y);
        else
            TimeMix::forward(be, p.att, s.att, h, y);
        add(be, y, x);
        layer_norm(be, p.ln2, x, normalised);
        ChannelMix::forward(be, p.ffn, s.ffn, h, y);
        add(be, y, x);
    }

    /// "(gold, channel_mix)", where the model's config is `whole`.
    static std::string description(config const& whole) {
        return detail::message({"(", detail::mixer_text<TimeMix>(whole), ", ", detail::mixer_text<ChannelMix>(whole), ")"});
    }
};

/// n blocks of one type. Depth is a loop, not a type: code and compile time do not grow with it.
template <class Block, std::size_t n>
struct repeat {
    using block = Block;
    static constexpr std::size_t n_blocks = n;
    static constexpr std::size_t width = Block::width;
};

}  // namespace goldfinch

#include <goldfinch/detail/block_checks.hpp>
