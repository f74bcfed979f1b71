// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <goldfinch/block.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/forward.hpp>
#include <goldfinch/layer/channel_mix.hpp>
#include <goldfinch/layer/eagle.hpp>
#include <goldfinch/layer/finch.hpp>
#include <goldfinch/layer/finch_c2.hpp>
#include <goldfinch/layer/gold.hpp>
#include <goldfinch/layer/gptalpha.hpp>
#include <goldfinch/layer/llama.hpp>
#include <goldfinch/layer/token_cat.hpp>
#include <goldfinch/stack.hpp>

// The models of the paper and those that it stands beside, as stacks of layers.

namespace goldfinch {

namespace detail {

/// n_layer blocks of one type.
template <config C, template <config> class TimeMix, template <config> class ChannelMix>
struct uniform_parts : valid_config<C> {
    static constexpr config cfg = valid_config<C>::cfg;
    using type = stack<repeat<block<TimeMix<C>, ChannelMix<C>>, static_cast<std::size_t>(cfg.n_layer)>>;
};

/// n_gold blocks of one type on top of blocks of another, with what stands between them.
template <config C, template <config> class Lower, template <config> class Upper, class... Between>
struct two_parts : valid_config<C> {
    static constexpr config cfg = valid_config<C>::cfg;
    static constexpr std::size_t upper = cfg.n_gold, lower = cfg.n_layer - cfg.n_gold;
    using type = stack<repeat<block<Lower<C>, channel_mix<C>>, lower>, Between..., repeat<block<Upper<C>, channel_mix<C>>, upper>>;
};

}  // namespace detail

/// What goldfinch_stack<C> stands for, the paper's model: Finch-C2 blocks, TokenCat, GOLD blocks.
template <config C>
struct detail::default_stack : detail::two_parts<C, finch_c2, gold, token_cat<C>> {};

/// GOLD blocks on plain Finch: the paper's upgrade of a trained RWKV-6.
template <config C>
using goldfinch_on_finch_stack = typename detail::two_parts<C, finch, gold, token_cat<C>>::type;

/// n_gold GPTAlpha blocks, each with keys and values of its own, on Finch-C2. Every token runs through every block: reading a prompt
/// takes time quadratic in its length.
template <config C>
using goldfinch_gptalpha_stack = typename detail::two_parts<C, finch_c2, gptalpha>::type;

/// Eagle, RWKV-5, which came before Finch. Linear, with a state of a fixed size.
template <config C>
using eagle_stack = typename detail::uniform_parts<C, eagle, channel_mix>::type;

/// Finch, RWKV-6. Linear, with a state of a fixed size.
template <config C>
using finch_stack = typename detail::uniform_parts<C, finch, channel_mix>::type;

/// Finch-C2 alone; `use_v2` and `use_one_minus_w` give its ablations. Linear, with a state of a fixed size.
template <config C>
using finch_c2_stack = typename detail::uniform_parts<C, finch_c2, channel_mix>::type;

/// GPTAlpha, with a rotary embedding where rope_base is set. Quadratic.
template <config C>
using gptalpha_stack = typename detail::uniform_parts<C, gptalpha, channel_mix>::type;

/// Llama as the paper compares with it. Quadratic.
template <config C>
using llama_stack = typename detail::uniform_parts<C, llama_attention, llama_mlp>::type;

}  // namespace goldfinch
