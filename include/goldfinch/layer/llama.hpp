// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <goldfinch/concepts.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/layer/state.hpp>
#include <goldfinch/layer/weights.hpp>
#include <goldfinch/view.hpp>

namespace goldfinch {

/// Llama's attention as the paper compares with it: softmax attention with a rotary embedding (base 10000 where the config names
/// none) and nothing else. A block keeps keys and values of its own and has no other state.
template <config C>
struct llama_attention : valid_config<C> {
    static constexpr config cfg = valid_config<C>::cfg;
    static constexpr std::size_t D = cfg.n_embd, N = cfg.head_size, H = D / N;
    static constexpr int rope_base = cfg.rope_base != 0 ? cfg.rope_base : 10000;
    static_assert(N % 2 == 0, "goldfinch: a rotary embedding needs an even head_size");

    static constexpr attends_to keys = attends_to::own_keys;
    static constexpr std::size_t width = D;
    static constexpr char const* name = "llama_attention";

    template <class Backend>
    struct weights {
        linear_weights<Backend, D, D> wq, wk, wv, wo;

        static constexpr void list(auto& self, auto const& f) {
            f("wq.weight", self.wq);
            f("wk.weight", self.wk);
            f("wv.weight", self.wv);
            f("wo.weight", self.wo);
        }
    };

    template <class Backend>
    using state = no_state;

    /// x [T, D], the normalised input, to y [T, D]; adds the keys and values of x to `cache` (cache/own_keys.hpp).
    template <class Backend, class Cache>
    static void forward(Backend const& be, weights<Backend> const& p, no_state const&, Cache const& cache, inputs<Backend, D> x, outputs<Backend, D> y) {
        auto const q = temporary<D>(be, x.size), k = temporary<D>(be, x.size), v = temporary<D>(be, x.size), o = temporary<D>(be, x.size);
        linear(be, p.wq, x, q);
        linear(be, p.wk, x, k);
        linear(be, p.wv, x, v);
        rope<N>(be, cache.sequences(), q, rope_base, cfg.rope_rescale);
        rope<N>(be, cache.sequences(), k, rope_base, cfg.rope_rescale);

        // out = wo . softmax(q K / sqrt(N)) V
        cache.append(be, k, v);
        cache.template attend<H>(be, q, o);
        linear(be, p.wo, o, y);
    }
};

/// Llama's channel mix: w2 . (silu(w1 . x) * (w3 . x)). It has a width formula of its own and no state.
template <config C>
struct llama_mlp : valid_config<C> {
    static constexpr config cfg = valid_config<C>::cfg;
    static constexpr std::size_t D = cfg.n_embd, F = D * 4 * 2 / 3 / 32 * 32;

    static constexpr std::size_t width = D;
    static constexpr std::size_t reach = 0;  ///< an output depends on its own token's input alone
    static constexpr char const* name = "llama_mlp";

    template <class Backend>
    struct weights {
        linear_weights<Backend, F, D> w1, w3;
        linear_weights<Backend, D, F> w2;

        static constexpr void list(auto& self, auto const& f) {
            f("w1.weight", self.w1);
            f("w2.weight", self.w2);
            f("w3.weight", self.w3);
        }
    };

    template <class Backend>
    using state = no_state;

    /// x [T, D], the normalised input, to y [T, D].
    template <class Backend>
    static void forward(Backend const& be, weights<Backend> const& p, no_state const&, inputs<Backend, D> x, outputs<Backend, D> y) {
        auto const gate = temporary<F>(be, x.size), up = temporary<F>(be, x.size);
        linear(be, p.w1, x, gate);
        linear(be, p.w3, x, up);
        silu_gate(be, gate, up);
        linear(be, p.w2, up, y);
    }
};

}  // namespace goldfinch
