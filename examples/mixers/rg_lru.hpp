// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include <goldfinch/batch.hpp>
#include <goldfinch/compiler.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/layer/weights.hpp>
#include <goldfinch/view.hpp>

namespace mixers {

namespace gf = goldfinch;

/// Griffin's recurrent block (arXiv 2402.19427, sections 2.3 and 2.4): a causal convolution and the RG-LRU on one branch, gelu on the
/// other, and their product. As in the released RecurrentGemma the branches are n_embd wide, the RG-LRU's gates have a matrix a head,
/// gelu is its tanh form and linear layers have biases; but sqrt(1 - a^2) is there at the first token too, as in the paper.
/// Its state is a number a channel and the convolution's last inputs, whatever the length.
template <gf::config C>
struct rg_lru : gf::valid_config<C> {
    static constexpr gf::config cfg = gf::valid_config<C>::cfg;
    static constexpr std::size_t D = cfg.n_embd, N = cfg.head_size, H = D / N;
    static constexpr std::size_t K = 4;  ///< width of the convolution
    static constexpr int c = 8;          ///< the paper's constant: how much faster than softplus(Lambda) an open gate forgets

    static constexpr std::size_t width = D;
    static constexpr char const* name = "rg_lru";

    template <class Backend>
    struct weights {
        using T = typename Backend::weight const;
        gf::linear_weights<Backend, D, D> linear_y, linear_x, linear_out;
        gf::matrix<T, D, K> conv;         // the last of K for the current token
        gf::tensor<T, H, N, N> w_a, w_x;  // [head][in][out]
        gf::vector<T, D> b_y, b_in, b_out, b_conv, b_a, b_x;
        gf::vector<T, D> time_decay;  // Lambda, under the name for which random models draw slow and fast channels

        static constexpr void list(auto& self, auto const& f) {
            f("linear_y.weight", self.linear_y);
            f("linear_y.bias", self.b_y);
            f("linear_x.weight", self.linear_x);
            f("linear_x.bias", self.b_in);
            f("linear_out.weight", self.linear_out);
            f("linear_out.bias", self.b_out);
            f("conv.weight", self.conv);
            f("conv.bias", self.b_conv);
            f("recurrent_gate.weight", self.w_a);
            f("recurrent_gate.bias", self.b_a);
            f("input_gate.weight", self.w_x);
            f("input_gate.bias", self.b_x);
            f("time_decay", self.time_decay);
        }
    };

    template <class Backend>
    struct state {
        gf::state_tensor<Backend, D> x_1, x_2, x_3;  // the convolution's last inputs, from the last one back
        gf::state_tensor<Backend, D> h;

        static constexpr void list(auto& self, auto const& f) {
            f("x_1", self.x_1);
            f("x_2", self.x_2);
            f("x_3", self.x_3);
            f("h", self.h);
        }
    };

    /// x [T, D], the normalised input, to y [T, D]; advances the states by the tokens of x.
    template <class Backend>
    static void forward(Backend const& be, weights<Backend> const& p, state<Backend> const& s, gf::inputs<Backend, D> x, gf::outputs<Backend, D> y) {
        using S = typename Backend::scalar;
        std::size_t const T = x.size;
        auto const add_bias = [] GOLDFINCH_FN(S& z, S bias) { z += bias; };
        auto const u = temporary<D>(be, T), r = temporary<D>(be, T), g = temporary<D>(be, T), z = temporary<D>(be, T);

        // u = conv(linear_x . x + b_x)
        linear(be, p.linear_x, x, u);
        transform(be, add_bias, u, p.b_in);
        scan(be, [] GOLDFINCH_FN(S& x_1, S& x_2, S& x_3, S& value, std::array<S, K> const& w, S bias) {
            S const now = value;
            value = bias + w[0] * x_3 + w[1] * x_2 + w[2] * x_1 + w[3] * now;
            x_3 = x_2, x_2 = x_1, x_1 = now;
        }, s.x_1, s.x_2, s.x_3, u, p.conv, p.b_conv);

        // r = u . w_a + b_a ;  g = u . w_x + b_x, a matrix a head
        transform(be, [] GOLDFINCH_FN(S& a, S& b, S bias_a, S bias_b) { a = bias_a, b = bias_b; }, r, g, p.b_a, p.b_x);
        for (std::size_t h = 0; h < H; ++h) {
            auto const head = [&](gf::outputs<Backend, D> all) { return gf::outputs<Backend, N>{all.data + h * N, T, all.stride}; };
            lora_up(be, head(u), slice(p.w_a, h), head(r));
            lora_up(be, head(u), slice(p.w_x, h), head(g));
        }

        // log a = -c * softplus(Lambda) * sigmoid(r) ;  h = a h + sqrt(1 - a^2) * (sigmoid(g) * u), from a - 1, which keeps the digits of slow channels
        scan(be, [] GOLDFINCH_FN(S& h, S& value, S recurrent_gate, S input_gate, S lambda) {
            S const softplus = std::max(lambda, S(0)) + std::log1p(std::exp(-std::abs(lambda)));
            S const change = std::expm1(-c * softplus / (1 + std::exp(-recurrent_gate)));
            h += change * h + std::sqrt(-change * (2 + change)) * value / (1 + std::exp(-input_gate));
            value = h;
        }, s.h, u, r, g, p.time_decay);

        // out = linear_out . (gelu(linear_y . x + b_y) * h) + b_out
        linear(be, p.linear_y, x, z);
        transform(be, [] GOLDFINCH_FN(S& out, S h, S bias) {
            S const a = out + bias;
            out = a / 2 * (1 + std::tanh(S(0.7978845608028654) * (a + S(0.044715) * a * a * a))) * h;
        }, z, u, p.b_y);
        linear(be, p.linear_out, z, y);
        transform(be, add_bias, y, p.b_out);
    }
};

}  // namespace mixers
