// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>

#include <goldfinch/backend/cpu.hpp>
#include <goldfinch/concepts.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/layer/parameter.hpp>
#include <goldfinch/layer/shift_state.hpp>
#include <goldfinch/view.hpp>

namespace goldfinch {

/// GOLD attention: softmax attention without key or value matrices. A block makes its keys from the shared key stream and its
/// values from the embeddings alone, each by a data-dependent token shift, a LoRA and a LayerNorm (arXiv
/// 2407.12077). What it needs of the past is in the session's key cache; its state is the last input.
template <config C>
struct gold : valid_config<C> {
    static constexpr config cfg = valid_config<C>::cfg;
    static constexpr std::size_t D = cfg.n_embd, N = cfg.head_size, H = D / N;
    static constexpr std::size_t M = 32;                                    ///< rank of the token-shift LoRA
    static constexpr std::size_t R = std::max<std::size_t>(D / 16, 64);     ///< rank of the key and value LoRA

    static constexpr attends_to keys = attends_to::shared_keys;
    static constexpr std::size_t width = D;
    static constexpr std::size_t reach = 1;  ///< an output depends on the inputs of this many tokens before its own, and on the key cache
    static constexpr char const* name = "gold";

    template <class Backend>
    struct weights {
        using T = typename Backend::weight const;
        channel_vector<T, D> time_maa_x, time_maa_q, time_maa_v_cache, time_maa_k, time_maa_v;
        matrix<T, D, M> time_maa_q_w1;
        matrix<T, M, D> time_maa_q_w2;
        matrix<T, D, 2 * M> time_maa_kv_w1;
        tensor<T, 2, M, D> time_maa_kv_w2;
        matrix<T, D, R> time_key_w1;
        matrix<T, R, D> time_key_w2;
        matrix<T, D, R> time_value_w1;
        matrix<T, R, D> time_value_w2;
        matrix<T, D, D> query, output;
        norm_weights<T, D> ln_q, ln_k, ln_v, ln_x;

        static constexpr void list(auto& self, auto const& f) {
            f("time_maa_x", self.time_maa_x);
            f("time_maa_q", self.time_maa_q);
            f("time_maa_v_cache", self.time_maa_v_cache);
            f("time_maa_k", self.time_maa_k);
            f("time_maa_v", self.time_maa_v);
            f("time_maa_q_w1", self.time_maa_q_w1);
            f("time_maa_q_w2", self.time_maa_q_w2);
            f("time_maa_kv_w1", self.time_maa_kv_w1);
            f("time_maa_kv_w2", self.time_maa_kv_w2);
            f("time_key_w1", self.time_key_w1);
            f("time_key_w2", self.time_key_w2);
            f("time_value_w1", self.time_value_w1);
            f("time_value_w2", self.time_value_w2);
            f("query.weight", self.query);
            f("output.weight", self.output);
            f("ln_q", self.ln_q);
            f("ln_k", self.ln_k);
            f("ln_v", self.ln_v);
            f("ln_x", self.ln_x);
        }
    };

    template <class Backend>
    using state = shift_state<Backend, D>;

    /// The query side: x [T, D], the normalised input of the tokens from `cache.position` on, to y [T, D].
    /// `cache.template attend<H>(be, q, y)` attends from q [T, D] to every cached position up to the query's own.
    template <class Backend, class Keys>
    static void forward(Backend const& be, weights<Backend> const& p, state<Backend>& s, Keys const& cache, inputs<Backend, D> x,
                        outputs<Backend, D> y) {
        using S = typename Backend::scalar;
        temporaries tmp(be);
        // z = x + d * time_maa_x ;  h = tanh(z . time_maa_q_w1) ;  q = LN(query . (x + d * (time_maa_q + h . time_maa_q_w2)); ln_q)
        auto const z = tmp.template sequence<S, D>(x.size), q = tmp.template sequence<S, D>(x.size);
        auto const h = tmp.template sequence<S, M>(x.size);
        token_shift(be, x, *s.shift, p.time_maa_x, z);
        lora_down(be, z, p.time_maa_q_w1, h);
        token_shift(be, x, *s.shift, p.time_maa_q, h, p.time_maa_q_w2, z);
        keep_last(be, x, *s.shift);
        linear(be, p.query, z, q);
        layer_norm(be, p.ln_q.weight, p.ln_q.bias, q, q);
        if constexpr (cfg.rope_base != 0) rope<N>(be, q, cache.position, cfg.rope_base, cfg.rope_rescale);

        // out = output . LN(softmax(q K / sqrt(N)) V; ln_x)
        cache.template attend<H>(be, q, z);
        layer_norm(be, p.ln_x.weight, p.ln_x.bias, z, z);
        linear(be, p.output, z, y);
    }

    /// The key and value side, for positions from `position` on: o [T, D], the rms-normalised embeddings, and k [T, D], the
    /// shared key stream, to K and V [T, D]; o_prev and k_prev are the rows before the first, zero at the very start.
    /// They depend on nothing else, so they may be kept or made again.
    template <class Backend>
    static void key_value(Backend const& be, weights<Backend> const& p, std::size_t position, input_row<Backend, D> o_prev,
                          inputs<Backend, D> o, input_row<Backend, D> k_prev, inputs<Backend, D> k, outputs<Backend, D> K,
                          outputs<Backend, D> V) {
        using S = typename Backend::scalar;
        temporaries tmp(be);
        auto const h = tmp.template sequence<S, 2 * M>(o.size);
        auto const low = tmp.template sequence<S, R>(o.size);
        // z = o + do * time_maa_v_cache ;  h = tanh(z . time_maa_kv_w1)
        token_shift(be, o, o_prev, p.time_maa_v_cache, V);
        lora_down(be, V, p.time_maa_kv_w1, h);
        // kk = k + dk * (time_maa_k + h_0 . time_maa_kv_w2[0]) ;  vv = o + do * (time_maa_v + h_1 . time_maa_kv_w2[1])
        token_shift(be, k, k_prev, p.time_maa_k, h.template channels<0, M>(), slice(p.time_maa_kv_w2, 0), K);
        token_shift(be, o, o_prev, p.time_maa_v, h.template channels<M, M>(), slice(p.time_maa_kv_w2, 1), V);
        // K = LN(kk + lora(kk); ln_k) ;  V = LN(vv + lora(vv); ln_v)
        lora_down(be, K, p.time_key_w1, low);
        lora_up(be, low, p.time_key_w2, K);
        layer_norm(be, p.ln_k.weight, p.ln_k.bias, K, K);
        lora_down(be, V, p.time_value_w1, low);
        lora_up(be, low, p.time_value_w2, V);
        layer_norm(be, p.ln_v.weight, p.ln_v.bias, V, V);
        if constexpr (cfg.rope_base != 0) rope<N>(be, K, position, cfg.rope_base, cfg.rope_rescale);
    }
};

}  // namespace goldfinch
