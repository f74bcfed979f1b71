// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>

#include <goldfinch/concepts.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/layer/state.hpp>
#include <goldfinch/layer/weights.hpp>
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
        linear_weights<Backend, D, D> query, output;
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

    /// The query side: x [T, D], the normalised input, to y [T, D]. `cached.template attend<gold>(be, p, q, y)` attends from q [T, D] to every
    /// cached position up to the query's own; what it needs of them it makes by `key_value`.
    template <class Backend, class Keys>
    static void forward(Backend const& be, weights<Backend> const& p, state<Backend> const& s, Keys const& cached, inputs<Backend, D> x,
                        outputs<Backend, D> y) {
        // z = x + d * time_maa_x ;  h = tanh(z . time_maa_q_w1) ;  q = LN(query . (x + d * (time_maa_q + h . time_maa_q_w2)); ln_q)
        auto const z = temporary<D>(be, x.size), x_q = temporary<D>(be, x.size), q = temporary<D>(be, x.size), o = temporary<D>(be, x.size);
        auto const h = temporary<M>(be, x.size);
        token_shift(be, x, s.shift, p.time_maa_x, z);
        lora_down(be, z, p.time_maa_q_w1, h);
        token_shift(be, x, s.shift, h, p.time_maa_q_w2, p.time_maa_q, x_q);
        keep_last(be, x, s.shift);
        linear(be, p.query, x_q, q);
        layer_norm(be, p.ln_q, q, q);
        if constexpr (cfg.rope_base != 0) rope<N>(be, cached.sequences(), q, cfg.rope_base, cfg.rope_rescale);

        // out = output . LN(softmax(q K / sqrt(N)) V; ln_x)
        cached.template attend<gold>(be, p, q, o);
        layer_norm(be, p.ln_x, o, o);
        linear(be, p.output, o, y);
    }

    /// The key and value side: o [T, D], the rms-normalised embeddings, and k [T, D], the shared key stream, of the positions in
    /// `positions` to K and V [T, D]. o_before and k_before hold the rows before the first ones, zero at the very start of a sequence. K and V
    /// depend on nothing else, so they may be kept or made again.
    template <class Backend>
    static void key_value(Backend const& be, weights<Backend> const& p, batch<typename Backend::scalar> const& positions,
                          state_tensor<Backend, D> o_before, inputs<Backend, D> o, state_tensor<Backend, D> k_before, inputs<Backend, D> k,
                          outputs<Backend, D> K, outputs<Backend, D> V) {
        auto const h = temporary<2 * M>(be, o.size);
        {
            // z = o + do * time_maa_v_cache ;  h = tanh(z . time_maa_kv_w1)
            auto const z = temporary<D>(be, o.size);
            token_shift(be, o, o_before, p.time_maa_v_cache, z);
            lora_down(be, z, p.time_maa_kv_w1, h);
        }
        // kk = k + dk * (time_maa_k + h_0 . time_maa_kv_w2[0]) ;  vv = o + do * (time_maa_v + h_1 . time_maa_kv_w2[1])
        token_shift(be, k, k_before, h.template channels<0, M>(), slice(p.time_maa_kv_w2, 0), p.time_maa_k, K);
        token_shift(be, o, o_before, h.template channels<M, M>(), slice(p.time_maa_kv_w2, 1), p.time_maa_v, V);
        // K = LN(kk + lora(kk); ln_k) ;  V = LN(vv + lora(vv); ln_v)
        lora(be, K, p.time_key_w1, p.time_key_w2, K);
        layer_norm(be, p.ln_k, K, K);
        lora(be, V, p.time_value_w1, p.time_value_w2, V);
        layer_norm(be, p.ln_v, V, V);
        if constexpr (cfg.rope_base != 0) rope<N>(be, positions, K, cfg.rope_base, cfg.rope_rescale);
    }
};

}  // namespace goldfinch
