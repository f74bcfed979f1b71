// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <goldfinch/config.hpp>
#include <goldfinch/layer/state.hpp>
#include <goldfinch/layer/weights.hpp>
#include <goldfinch/view.hpp>

namespace goldfinch {

/// Finch time mix, RWKV-6 (arXiv 2404.05892, section 4.2): the recurrence with a bonus for the current token, a norm a head and a gate.
/// Its state is a matrix a head and the last input, whatever the length.
template <config C>
struct finch : valid_config<C> {
    static constexpr config cfg = valid_config<C>::cfg;
    static constexpr std::size_t D = cfg.n_embd, N = cfg.head_size, H = D / N;
    static constexpr std::size_t M = 32;  ///< rank of the token-shift LoRA
    static constexpr std::size_t W = 64;  ///< rank of the decay LoRA
    static constexpr double eps = 1e-5 * cfg.head_size_divisor * cfg.head_size_divisor;

    static constexpr std::size_t width = D;
    static constexpr char const* name = "finch";

    template <class Backend>
    struct weights {
        using T = typename Backend::weight const;
        channel_vector<T, D> time_maa_x, time_maa_w, time_maa_k, time_maa_v, time_maa_r, time_maa_g;
        matrix<T, D, 5 * M> time_maa_w1;
        tensor<T, 5, M, D> time_maa_w2;
        channel_vector<T, D> time_decay;
        matrix<T, D, W> time_decay_w1;
        matrix<T, W, D> time_decay_w2;
        matrix<T, H, N> time_faaaa;
        linear_weights<Backend, D, D> receptance, key, value, gate, output;
        norm_weights<T, D> ln_x;

        static constexpr void list(auto& self, auto const& f) {
            f("time_maa_x", self.time_maa_x);
            f("time_maa_w", self.time_maa_w);
            f("time_maa_k", self.time_maa_k);
            f("time_maa_v", self.time_maa_v);
            f("time_maa_r", self.time_maa_r);
            f("time_maa_g", self.time_maa_g);
            f("time_maa_w1", self.time_maa_w1);
            f("time_maa_w2", self.time_maa_w2);
            f("time_decay", self.time_decay);
            f("time_decay_w1", self.time_decay_w1);
            f("time_decay_w2", self.time_decay_w2);
            f("time_faaaa", self.time_faaaa);
            f("receptance.weight", self.receptance);
            f("key.weight", self.key);
            f("value.weight", self.value);
            f("gate.weight", self.gate);
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
        auto const r = temporary<D>(be, T), k = temporary<D>(be, T), v = temporary<D>(be, T), w = temporary<D>(be, T), g = temporary<D>(be, T);
        {
            // z = x + d * time_maa_x ;  h = tanh(z . time_maa_w1), runs of M for w, k, v, r, g
            auto const z = temporary<D>(be, T);
            auto const h = temporary<5 * M>(be, T);
            token_shift(be, x, s.shift, p.time_maa_x, z);
            lora_down(be, z, p.time_maa_w1, h);

            // x_i = x + d * (time_maa_i + h_i . time_maa_w2[i])
            auto const x_w = temporary<D>(be, T), x_k = temporary<D>(be, T), x_v = temporary<D>(be, T), x_r = temporary<D>(be, T),
                       x_g = temporary<D>(be, T);
            token_shift(be, x, s.shift, h, p.time_maa_w2, {p.time_maa_w, p.time_maa_k, p.time_maa_v, p.time_maa_r, p.time_maa_g},
                        {x_w, x_k, x_v, x_r, x_g});
            keep_last(be, x, s.shift);
            linear(be, p.key, x_k, k);
            linear(be, p.value, x_v, v);
            linear(be, p.receptance, x_r, r);
            linear(be, p.gate, x_g, g);

            // w = exp(-exp(time_decay + lora(x_w)))
            lora(be, p.time_decay, x_w, p.time_decay_w1, p.time_decay_w2, w);
            decay(be, w);
        }

        // y = r (S + diag(u) k^T v) ;  S = diag(w) S + k^T v ;  out = output . (GN(y; ln_x) * silu(g))
        auto const o = temporary<D>(be, T);
        wkv6(be, r, k, v, w, p.time_faaaa, s.wkv, o);
        layer_norm(be, p.ln_x, o, o, eps, H);
        silu_gate(be, g, o);
        linear(be, p.output, o, y);
    }
};

}  // namespace goldfinch
