// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <string>

#include <goldfinch/block.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/layer/llama.hpp>
#include <goldfinch/layer/weights.hpp>
#include <goldfinch/message.hpp>
#include <goldfinch/view.hpp>

namespace mixers {

namespace gf = goldfinch;

/// n blocks of a Llama that share keys and values (MLKV, multi-layer key-value sharing, arXiv 2406.09297): the first makes them, all attend to
/// them, and a session keeps those of one block. A stack takes it as one block, so that n_layer is the number of groups.
template <gf::config C, std::size_t n>
struct mlkv_group : gf::valid_config<C> {
    static_assert(n > 1, "mlkv_group: sharing takes two blocks");
    static constexpr gf::config cfg = gf::valid_config<C>::cfg;
    using time_mix = gf::llama_attention<C>;
    using channel_mix = gf::llama_mlp<C>;
    using first_block = gf::block<time_mix, channel_mix>;
    static constexpr std::size_t width = first_block::width, D = width, N = cfg.head_size;
    static constexpr bool has_own_keys = true, has_shared_keys = false;

    /// A block that attends to the keys and values of the first.
    template <class Backend>
    struct sharing_block {
        gf::norm_weights<typename Backend::weight const, D> ln1, ln2;
        gf::linear_weights<Backend, D, D> wq, wo;
        typename channel_mix::template weights<Backend> ffn;

        static constexpr void list(auto& self, auto const& f) {
            f("ln1", self.ln1);
            f("ln2", self.ln2);
            f("att.wq.weight", self.wq);
            f("att.wo.weight", self.wo);
            f("ffn", self.ffn);
        }
    };

    template <class Backend>
    struct weights {
        typename first_block::template weights<Backend> first;
        std::array<sharing_block<Backend>, n - 1> sharing;

        static constexpr void list(auto& self, auto const& f) {
            f({"layers.", 0}, self.first);
            for (std::size_t i = 1; i < n; ++i) f({"layers.", i}, self.sharing[i - 1]);
        }
    };

    template <class Backend>
    using state = typename first_block::template state<Backend>;

    /// x [T, D] in place; adds the keys and values of x to `cache`.
    template <class Backend, class Cache>
    static void forward(Backend const& be, weights<Backend> const& p, state<Backend> const& s, Cache const& cache, gf::outputs<Backend, D> x) {
        first_block::forward(be, p.first, s, cache, x);
        auto const h = temporary<D>(be, x.size), q = temporary<D>(be, x.size), o = temporary<D>(be, x.size);
        for (auto const& block : p.sharing) {
            // x += wo . softmax(q K / sqrt(N)) V, where only q = rope(wq . LN(x; ln1)) is the block's own
            layer_norm(be, block.ln1, x, h);
            linear(be, block.wq, h, q);
            rope<N>(be, cache.sequences(), q, time_mix::rope_base, cfg.rope_rescale);
            cache.template attend<time_mix::H>(be, q, o);
            linear(be, block.wo, o, h);
            add(be, h, x);

            layer_norm(be, block.ln2, x, h);
            channel_mix::forward(be, block.ffn, s.ffn, h, o);
            add(be, o, x);
        }
    }

    /// "(mlkv_group of 2, llama_mlp)", where the model's config is `whole`.
    static std::string description(gf::config const& whole) {
        return gf::detail::message({"(mlkv_group of ", n, ", ", gf::detail::mixer_text<channel_mix>(whole), ")"});
    }
};

}  // namespace mixers
