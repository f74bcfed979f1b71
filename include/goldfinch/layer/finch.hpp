// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <goldfinch/backend/cpu.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/layer/parameter.hpp>
#include <goldfinch/layer/shift_state.hpp>
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
        matrix<T, D, D> receptance, key, value, gate, output;
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

    /// x [T, D], the normalised input, to y [T, D]; advances the state by T tokens.
    template <class Backend>
    static void forward(Backend const& be, weights<Backend> const& p, state<Backend>& s, inputs<Backend, D> x, outputs<Backend, D> y) {
        using S = typename Backend::scalar;
        temporaries tmp(be);
        std::size_t const T = x.size;

        // z = x + d * time_maa_x ;  h = tanh(z . time_maa_w1), runs of M for w, k, v, r, g
        auto const z = tmp.template sequence<S, D>(T);
        auto const h = tmp.template sequence<S, 5 * M>(T);
        token_shift(be, x, *s.shift, p.time_maa_x, z);
        lora_down(be, z, p.time_maa_w1, h);

        // x_i = x + d * (time_maa_i + h_i . time_maa_w2[i]), each used up before the next
        auto const r = tmp.template sequence<S, D>(T), k = tmp.template sequence<S, D>(T), v = tmp.template sequence<S, D>(T);
        auto const w = tmp.template sequence<S, D>(T), g = tmp.template sequence<S, D>(T);
        auto const low = tmp.template sequence<S, W>(T);
        token_shift(be, x, *s.shift, p.time_maa_w, h.template channels<0 * M, M>(), slice(p.time_maa_w2, 0), z);
        lora_down(be, z, p.time_decay_w1, low);
        token_shift(be, x, *s.shift, p.time_maa_k, h.template channels<1 * M, M>(), slice(p.time_maa_w2, 1), z);
        linear(be, p.key, z, k);
        token_shift(be, x, *s.shift, p.time_maa_v, h.template channels<2 * M, M>(), slice(p.time_maa_w2, 2), z);
        linear(be, p.value, z, v);
        token_shift(be, x, *s.shift, p.time_maa_r, h.template channels<3 * M, M>(), slice(p.time_maa_w2, 3), z);
        linear(be, p.receptance, z, r);
        token_shift(be, x, *s.shift, p.time_maa_g, h.template channels<4 * M, M>(), slice(p.time_maa_w2, 4), z);
        linear(be, p.gate, z, g);
        keep_last(be, x, *s.shift);

        // w = exp(-exp(time_decay + lora(x_w)))
        repeat_row(be, p.time_decay, w);
        lora_up(be, low, p.time_decay_w2, w);
        decay(be, w);

        // y = r (S + diag(u) k^T v) ;  S = diag(w) S + k^T v ;  out = output . (GN(y; ln_x) * silu(g))
        wkv6(be, r, k, v, w, p.time_faaaa, *s.wkv, r);
        layer_norm(be, p.ln_x.weight, p.ln_x.bias, r, r, static_cast<S>(eps), H);
        silu_gate(be, g, r);
        linear(be, p.output, r, y);
    }
};

}  // namespace goldfinch
