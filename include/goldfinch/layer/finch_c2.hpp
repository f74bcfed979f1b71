// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <goldfinch/backend/cpu.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/layer/parameter.hpp>
#include <goldfinch/layer/shift_state.hpp>
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
        matrix<T, D, D> receptance, key, value, output;
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

    /// x [T, D], the normalised input, to y [T, D]; advances the state by T tokens.
    template <class Backend>
    static void forward(Backend const& be, weights<Backend> const& p, state<Backend>& s, inputs<Backend, D> x, outputs<Backend, D> y) {
        using S = typename Backend::scalar;
        temporaries tmp(be);
        std::size_t const T = x.size;

        // z = x + d * time_maa_x ;  h = tanh(z . time_maa_w1), runs of M for r, k, v, w, v2
        auto const z = tmp.template sequence<S, D>(T);
        auto const h = tmp.template sequence<S, 5 * M>(T);
        token_shift(be, x, *s.shift, p.time_maa_x, z);
        lora_down(be, z, p.time_maa_w1, h);

        // x_i = x + d * (time_maa_i + h_i . time_maa_w2[i])
        auto const x_r = tmp.template sequence<S, D>(T), x_k = tmp.template sequence<S, D>(T), x_w = z;
        auto const x_vv = tmp.template sequence<S, D>(2 * T), x_v = x_vv.first(T), x_v2 = x_vv.from(T);
        token_shift(be, x, *s.shift, p.time_maa_r, h.template channels<0 * M, M>(), slice(p.time_maa_w2, 0), x_r);
        token_shift(be, x, *s.shift, p.time_maa_k, h.template channels<1 * M, M>(), slice(p.time_maa_w2, 1), x_k);
        token_shift(be, x, *s.shift, p.time_maa_v, h.template channels<2 * M, M>(), slice(p.time_maa_w2, 2), x_v);
        token_shift(be, x, *s.shift, p.time_maa_w, h.template channels<3 * M, M>(), slice(p.time_maa_w2, 3), x_w);
        token_shift(be, x, *s.shift, p.time_maa_v2, h.template channels<4 * M, M>(), slice(p.time_maa_w2, 4), x_v2);
        keep_last(be, x, *s.shift);

        // r = receptance . x_r ;  k = key . x_k ;  v, v2 = value . (x_v, x_v2), one pass over value ;  v2 += lora(x_v2)
        auto const r = tmp.template sequence<S, D>(T), k = tmp.template sequence<S, D>(T);
        auto const vv = tmp.template sequence<S, D>(cfg.use_v2 ? 2 * T : T), v = vv.first(T);
        linear(be, p.receptance, x_r, r);
        linear(be, p.key, x_k, k);
        linear(be, p.value, x_vv.first(vv.size), vv);

        // w = exp(-exp(time_decay + lora(x_w))) ;  k *= 1 - w
        auto const low = tmp.template sequence<S, W>(T);
        auto const w = x_r;
        repeat_row(be, p.time_decay, w);
        lora_down(be, x_w, p.time_decay_w1, low);
        lora_up(be, low, p.time_decay_w2, w);
        decay(be, w);
        if constexpr (cfg.use_one_minus_w) scale_by_one_minus(be, w, k);

        // y = r S (with the bonus u where there is no v2) ;  S = diag(w) S + k^T v ;  out = output . LN(y + v2; ln_x)
        if constexpr (cfg.use_v2) {
            auto const v2 = vv.from(T);
            lora_down(be, x_v2, p.time_value2_w1, low);
            lora_up(be, low, p.time_value2_w2, v2);
            wkv6(be, r, k, v, w, *s.wkv, r);
            add(be, v2, r);
        } else {
            wkv6(be, r, k, v, w, p.time_faaaa, *s.wkv, r);
        }
        layer_norm(be, p.ln_x.weight, p.ln_x.bias, r, r);
        linear(be, p.output, r, y);
    }
};

}  // namespace goldfinch
