// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <goldfinch/backend/cpu.hpp>
#include <goldfinch/concepts.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/layer/parameter.hpp>
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
        using T = typename Backend::weight const;
        matrix<T, D, D> wq, wk, wv, wo;

        static constexpr void list(auto& self, auto const& f) {
            f("wq.weight", self.wq);
            f("wk.weight", self.wk);
            f("wv.weight", self.wv);
            f("wo.weight", self.wo);
        }
    };

    template <class Backend>
    using state = no_state;

    /// x [T, D], the normalised input, to y [T, D]; adds T keys and values to `cache` (cache/key_value_rows.hpp).
    template <class Backend, class Cache>
    static void forward(Backend const& be, weights<Backend> const& p, no_state&, Cache& cache, inputs<Backend, D> x, outputs<Backend, D> y) {
        using S = typename Backend::scalar;
        temporaries tmp(be);
        std::size_t const position = cache.size();
        auto const q = tmp.template sequence<S, D>(x.size), k = tmp.template sequence<S, D>(x.size), v = tmp.template sequence<S, D>(x.size);
        linear(be, p.wq, x, q);
        linear(be, p.wk, x, k);
        linear(be, p.wv, x, v);
        rope<N>(be, q, position, rope_base, cfg.rope_rescale);
        rope<N>(be, k, position, rope_base, cfg.rope_rescale);

        // out = wo . softmax(q K / sqrt(N)) V
        cache.append(be, k, v);
        cache.template attend<H>(be, q, k);
        linear(be, p.wo, k, y);
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
        using T = typename Backend::weight const;
        matrix<T, F, D> w1, w3;
        matrix<T, D, F> w2;

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
    static void forward(Backend const& be, weights<Backend> const& p, no_state&, inputs<Backend, D> x, outputs<Backend, D> y) {
        using S = typename Backend::scalar;
        temporaries tmp(be);
        auto const gate = tmp.template sequence<S, F>(x.size), up = tmp.template sequence<S, F>(x.size);
        linear(be, p.w1, x, gate);
        linear(be, p.w3, x, up);
        silu_gate(be, gate, up);
        linear(be, p.w2, up, y);
    }
};

}  // namespace goldfinch
