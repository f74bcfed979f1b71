// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <goldfinch/config.hpp>
#include <goldfinch/layer/state.hpp>
#include <goldfinch/layer/weights.hpp>
#include <goldfinch/view.hpp>

namespace goldfinch {

/// RWKV channel mix, of every block: a gated two-layer network with squared ReLU, on token-shifted input
/// (arXiv 2407.12077, appendix). Its state is the last input.
template <config C>
struct channel_mix : valid_config<C> {
    static constexpr config cfg = valid_config<C>::cfg;
    static constexpr std::size_t D = cfg.n_embd, F = cfg.dim_ffn;

    static constexpr std::size_t width = D;
    static constexpr std::size_t reach = 1;  ///< an output depends on the inputs of this many tokens before its own
    static constexpr char const* name = "channel_mix";

    template <class Backend>
    struct weights {
        using T = typename Backend::weight const;
        channel_vector<T, D> time_maa_k, time_maa_r;
        linear_weights<Backend, F, D> key;
        linear_weights<Backend, D, D> receptance;
        sparse_input_weights<Backend, D, F> value;

        static constexpr void list(auto& self, auto const& f) {
            f("time_maa_k", self.time_maa_k);
            f("time_maa_r", self.time_maa_r);
            f("key.weight", self.key);
            f("receptance.weight", self.receptance);
            f("value.weight", self.value);
        }
    };

    template <class Backend>
    using state = shift_state<Backend, D>;

    /// x [T, D], the normalised input, to y [T, D]; advances the states by the tokens of x.
    template <class Backend>
    static void forward(Backend const& be, weights<Backend> const& p, state<Backend> const& s, inputs<Backend, D> x, outputs<Backend, D> y) {
        // x_k = x + d * time_maa_k ;  x_r = x + d * time_maa_r
        auto const x_k = temporary<D>(be, x.size), x_r = temporary<D>(be, x.size);
        token_shift(be, x, s.shift, {p.time_maa_k, p.time_maa_r}, {x_k, x_r});
        keep_last(be, x, s.shift);

        // out = sigmoid(receptance . x_r) * (value . relu(key . x_k)^2)
        auto const k = temporary<F>(be, x.size);
        auto const r = temporary<D>(be, x.size);
        linear(be, p.key, x_k, k);
        relu_squared(be, k);
        linear(be, p.value, k, y);
        linear(be, p.receptance, x_r, r);
        sigmoid_gate(be, r, y);
    }
};

}  // namespace goldfinch
