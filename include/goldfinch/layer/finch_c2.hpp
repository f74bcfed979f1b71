// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <goldfinch/config.hpp>
#include <goldfinch/layer/state.hpp>
#include <goldfinch/layer/weights.hpp>
#include <goldfinch/view.hpp>

namespace goldfinch {

/// Finch-C2 time mix: an RWKV-6 recurrence whose keys are scaled by one minus the decay and whose bonus term is replaced by a
/// second value (arXiv 2407.12077). Its state is a matrix a head and the last input, whatever the length.
template <config C>
struct finch_c2 : valid_config<C> {
    static constexpr config cfg = valid_config<C>::cfg;
    static constexpr std::size_t D = cfg.n_embd, N = cfg.head_size, H = D / N;
    static constexpr std::size_t M = 32;  ///< rank of the token-shift LoRA
    static constexpr std::size_t W = 64;  ///< rank of the decay LoRA and of the second-value LoRA

    static constexpr std::size_t width = D;
    static constexpr char const* name = "finch_c2";

    template <class Backend>
    struct weights {
        using T = typename Backend::weight const;
        channel_vector<T, D> time_maa_x, time_maa_r, time_maa_w, time_maa_k, time_maa_v, time_maa_v2;
        matrix<T, D, 5 * M> time_maa_w1;
        tensor<T, 5, M, D> time_maa_w2;
        channel_vector<T, D> time_decay;
        matrix<T, D, W> time_decay_w1;
        matrix<T, W, D> time_decay_w2;
        matrix<T, D, W> time_value2_w1;
        matrix<T, W, D> time_value2_w2;
        matrix<T, H, N> time_faaaa;
        linear_weights<Backend, D, D> receptance, key, value, output;
        norm_weights<T, D> ln_x;

        static constexpr void list(auto& self, auto const& f) {
            f("time_maa_x", self.time_maa_x);
            f("time_maa_r", self.time_maa_r);
            f("time_maa_w", self.time_maa_w);
            f("time_maa_k", self.time_maa_k);
            f("time_maa_v", self.time_maa_v);
            f("time_maa_v2", self.time_maa_v2);
            f("time_maa_w1", self.time_maa_w1);
            f("time_maa_w2", self.time_maa_w2);
            f("time_decay", self.time_decay);
            f("time_decay_w1", self.time_decay_w1);
            f("time_decay_w2", self.time_decay_w2);
            f("time_value2_w1", self.time_value2_w1);
            f("time_value2_w2", self.time_value2_w2);
            f("time_faaaa", self.time_faaaa);
            f("receptance.weight", self.receptance);
            f("key.weight", self.key);
            f("value.weight", self.value);
            f("output.weight", self.output);
            f("ln_x", self.ln_x);
        }
    };

    template <class Backend>
    using state = wkv6_state<Backend, H, N>;

    /// x [T, D], the normalised input, to y [T, D]; advances the states by the tokens of x.
    template <class Backend>
    static void forward(Backend const& be, weights<Backend> const& p, state<Backend> const& s, inputs<Backend, D> x, outputs<Backend, D> y) {
        std::size_t const T = x.size;
        auto const r = temporary<D>(be, T), k = temporary<D>(be, T), w = temporary<D>(be, T);
        auto const vv = temporary<D>(be, cfg.use_v2 ? 2 * T : T);  // v, and below it v2: one pass over value serves both
        auto const v = vv.first(T);
        {
            // z = x + d * time_maa_x ;  h = tanh(z . time_maa_w1), runs of M for r, k, v, w, v2
            auto const z = temporary<D>(be, T);
            auto const h = temporary<5 * M>(be, T);
            token_shift(be, x, s.shift, p.time_maa_x, z);
            lora_down(be, z, p.time_maa_w1, h);

            // x_i = x + d * (time_maa_i + h_i . time_maa_w2[i])
            auto const x_r = temporary<D>(be, T), x_k = temporary<D>(be, T), x_w = temporary<D>(be, T), x_vv = temporary<D>(be, 2 * T);
            auto const x_v = x_vv.first(T), x_v2 = x_vv.from(T);
            token_shift(be, x, s.shift, h, p.time_maa_w2, {p.time_maa_r, p.time_maa_k, p.time_maa_v, p.time_maa_w, p.time_maa_v2},
                        {x_r, x_k, x_v, x_w, x_v2});
            keep_last(be, x, s.shift);

            // r = receptance . x_r ;  k = key . x_k ;  v, v2 = value . (x_v, x_v2) ;  v2 += lora(x_v2)
            linear(be, p.receptance, x_r, r);
            linear(be, p.key, x_k, k);
            linear(be, p.value, x_vv.first(vv.size), vv);
            if constexpr (cfg.use_v2) lora(be, x_v2, p.time_value2_w1, p.time_value2_w2, vv.from(T));

            // w = exp(-exp(time_decay + lora(x_w)))
            lora(be, p.time_decay, x_w, p.time_decay_w1, p.time_decay_w2, w);
        }
        if constexpr (cfg.use_one_minus_w)
            decay(be, w, k);  // and k *= 1 - w
        else
            decay(be, w);

        // y = r S (with the bonus u where there is no v2) ;  S = diag(w) S + k^T v ;  out = output . LN(y + v2; ln_x)
        auto const o = temporary<D>(be, T);
        if constexpr (cfg.use_v2) {
            wkv6(be, r, k, v, w, s.wkv, o);
            add(be, vv.from(T), o);
        } else {
            wkv6(be, r, k, v, w, p.time_faaaa, s.wkv, o);
        }
        layer_norm(be, p.ln_x, o, o);
        linear(be, p.output, o, y);
    }
};

}  // namespace goldfinch
