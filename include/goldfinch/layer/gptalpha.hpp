// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <goldfinch/concepts.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/layer/state.hpp>
#include <goldfinch/layer/weights.hpp>
#include <goldfinch/view.hpp>

namespace goldfinch {

/// GPTAlpha attention: softmax attention with data-dependent token shift and a LayerNorm on queries, keys and values
/// (arXiv 2407.12077). A block keeps keys and values of its own; its state is the last input.
template <config C>
struct gptalpha : valid_config<C> {
    static constexpr config cfg = valid_config<C>::cfg;
    static constexpr std::size_t D = cfg.n_embd, N = cfg.head_size, H = D / N;
    static constexpr std::size_t M = 32;  ///< rank of the token-shift LoRA

    static constexpr attends_to keys = attends_to::own_keys;
    static constexpr std::size_t width = D;
    static constexpr char const* name = "gptalpha";

    template <class Backend>
    struct weights {
        using T = typename Backend::weight const;
        channel_vector<T, D> time_maa_x, time_maa_r, time_maa_k, time_maa_v;
        matrix<T, D, 3 * M> time_maa_w1;
        tensor<T, 3, M, D> time_maa_w2;
        linear_weights<Backend, D, D> query, key, value, output;
        norm_weights<T, D> ln_r, ln_k, ln_v, ln_x;

        static constexpr void list(auto& self, auto const& f) {
            f("time_maa_x", self.time_maa_x);
            f("time_maa_r", self.time_maa_r);
            f("time_maa_k", self.time_maa_k);
            f("time_maa_v", self.time_maa_v);
            f("time_maa_w1", self.time_maa_w1);
            f("time_maa_w2", self.time_maa_w2);
            f("query.weight", self.query);
            f("key.weight", self.key);
            f("value.weight", self.value);
            f("output.weight", self.output);
            f("ln_r", self.ln_r);
            f("ln_k", self.ln_k);
            f("ln_v", self.ln_v);
            f("ln_x", self.ln_x);
        }
    };

    template <class Backend>
    using state = shift_state<Backend, D>;

    /// x [T, D], the normalised input, to y [T, D]; adds the keys and values of x to `cache` (cache/own_keys.hpp).
    template <class Backend, class Cache>
    static void forward(Backend const& be, weights<Backend> const& p, state<Backend> const& s, Cache const& cache, inputs<Backend, D> x,
                        outputs<Backend, D> y) {
        std::size_t const T = x.size;
        auto const q = temporary<D>(be, T), k = temporary<D>(be, T), v = temporary<D>(be, T);
        {
            // z = x + d * time_maa_x ;  h = tanh(z . time_maa_w1), runs of M for r, k, v
            auto const z = temporary<D>(be, T);
            auto const h = temporary<3 * M>(be, T);
            token_shift(be, x, s.shift, p.time_maa_x, z);
            lora_down(be, z, p.time_maa_w1, h);

            // q = LN(query . (x + d * (time_maa_r + h_r . time_maa_w2[0])); ln_r), and so K and V
            auto const x_r = temporary<D>(be, T), x_k = temporary<D>(be, T), x_v = temporary<D>(be, T);
            token_shift(be, x, s.shift, h, p.time_maa_w2, {p.time_maa_r, p.time_maa_k, p.time_maa_v}, {x_r, x_k, x_v});
            keep_last(be, x, s.shift);
            linear(be, p.query, x_r, q);
            linear(be, p.key, x_k, k);
            linear(be, p.value, x_v, v);
        }
        layer_norm(be, p.ln_r, q, q);
        layer_norm(be, p.ln_k, k, k);
        layer_norm(be, p.ln_v, v, v);
        if constexpr (cfg.rope_base != 0) {
            rope<N>(be, cache.sequences(), q, cfg.rope_base, cfg.rope_rescale);
            rope<N>(be, cache.sequences(), k, cfg.rope_base, cfg.rope_rescale);
        }

        // out = output . LN(softmax(q K / sqrt(N)) V; ln_x)
        auto const o = temporary<D>(be, T);
        cache.append(be, k, v);
        cache.template attend<H>(be, q, o);
        layer_norm(be, p.ln_x, o, o);
        linear(be, p.output, o, y);
    }
};

}  // namespace goldfinch
