// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <goldfinch/compiler.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/layer/state.hpp>
#include <goldfinch/layer/weights.hpp>
#include <goldfinch/view.hpp>

namespace goldfinch {

/// Eagle time mix, RWKV-5 (arXiv 2404.05892, section 4.1): Finch with mixing vectors and decays that do not depend on the data. The mixing vectors are the
/// paper's: an official RWKV-5 file has time_mix_k = 1 - time_maa_k, and so on.
template <config C>
struct eagle : valid_config<C> {
    static constexpr config cfg = valid_config<C>::cfg;
    static constexpr std::size_t D = cfg.n_embd, N = cfg.head_size, H = D / N;
    static constexpr double eps = 1e-5 * cfg.head_size_divisor * cfg.head_size_divisor;

    static constexpr std::size_t width = D;
    static constexpr char const* name = "eagle";

    template <class Backend>
    struct weights {
        using T = typename Backend::weight const;
        channel_vector<T, D> time_maa_k, time_maa_v, time_maa_r, time_maa_g, time_decay;
        matrix<T, H, N> time_faaaa;
        linear_weights<Backend, D, D> receptance, key, value, gate, output;
        norm_weights<T, D> ln_x;

        static constexpr void list(auto& self, auto const& f) {
            f("time_maa_k", self.time_maa_k);
            f("time_maa_v", self.time_maa_v);
            f("time_maa_r", self.time_maa_r);
            f("time_maa_g", self.time_maa_g);
            f("time_decay", self.time_decay);
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
        using S = typename Backend::scalar;
        std::size_t const T = x.size;
        auto const r = temporary<D>(be, T), k = temporary<D>(be, T), v = temporary<D>(be, T), w = temporary<D>(be, T), g = temporary<D>(be, T);
        {
            // x_i = x + d * time_maa_i
            auto const x_k = temporary<D>(be, T), x_v = temporary<D>(be, T), x_r = temporary<D>(be, T), x_g = temporary<D>(be, T);
            token_shift(be, x, s.shift, {p.time_maa_k, p.time_maa_v, p.time_maa_r, p.time_maa_g}, {x_k, x_v, x_r, x_g});
            keep_last(be, x, s.shift);
            linear(be, p.key, x_k, k);
            linear(be, p.value, x_v, v);
            linear(be, p.receptance, x_r, r);
            linear(be, p.gate, x_g, g);
        }

        // w = exp(-exp(time_decay))
        transform(be, copy_channel<S>{}, w, p.time_decay);
        decay(be, w);

        // y = r (S + diag(u) k^T v) ;  S = diag(w) S + k^T v ;  out = output . (GN(y; ln_x) * silu(g))
        auto const o = temporary<D>(be, T);
        wkv6(be, r, k, v, w, p.time_faaaa, s.wkv, o);
        layer_norm(be, p.ln_x, o, o, eps, H);
        silu_gate(be, g, o);
        linear(be, p.output, o, y);
    }

private:
    template <class S>
    struct copy_channel {  // a lambda would need a flag of nvcc's
        GOLDFINCH_FN void operator()(S& row, S of_channel) const { row = of_channel; }
    };
};

}  // namespace goldfinch
