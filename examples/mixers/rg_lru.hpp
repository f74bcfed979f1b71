// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <goldfinch/goldfinch.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>

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
        gf::matrix<T, D, D> linear_y, linear_x, linear_out;
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
        gf::state_tensor<Backend, K - 1, D> conv;  // the convolution's last inputs
        gf::state_tensor<Backend, D> h;

        static constexpr void list(auto& self, auto const& f) {
            f("conv", self.conv);
            f("h", self.h);
        }
    };

    /// x [T, D], the normalised input, to y [T, D]; advances the state by T tokens.
    template <class Backend>
    static void forward(Backend const& be, weights<Backend> const& p, state<Backend>& s, gf::inputs<Backend, D> x, gf::outputs<Backend, D> y) {
        using S = typename Backend::scalar;
        gf::temporaries tmp(be);
        std::size_t const T = x.size;
        auto const affine = [&](auto const& w, auto const& bias, gf::inputs<Backend, D> from, gf::outputs<Backend, D> to) {
            linear(be, w, from, to);
            for (std::size_t t = 0; t < T; ++t)
                for (std::size_t i = 0; i < D; ++i) to[t][i] += static_cast<S>(bias.data[i]);
        };

        // u = conv(linear_x . x), with the inputs before the first token from the state
        gf::outputs<Backend, D> const before{s.conv.data(), K - 1};
        auto const in = tmp.template sequence<S, D>(K - 1 + T), u = tmp.template sequence<S, D>(T);
        copy(be, before, in.first(K - 1));
        affine(p.linear_x, p.b_in, x, in.from(K - 1));
        copy(be, in.from(T), before);
        repeat_row(be, p.b_conv, u);
        for (std::size_t t = 0; t < T; ++t)
            for (std::size_t i = 0; i < D; ++i)
                for (std::size_t j = 0; j < K; ++j) u[t][i] += static_cast<S>(p.conv.data[i * K + j]) * in[t + j][i];

        // r = u . w_a + b_a ;  g = u . w_x + b_x ;  log a = -c * softplus(Lambda) * sigmoid(r) ;  u = sigmoid(g) * u
        auto const r = tmp.template sequence<S, D>(T), g = tmp.template sequence<S, D>(T), log_a = tmp.template sequence<S, D>(T);
        repeat_row(be, p.b_a, r);
        repeat_row(be, p.b_x, g);
        for (std::size_t h = 0; h < H; ++h) {
            auto const head = [&](auto const& z) { return gf::outputs<Backend, N>{z.data + h * N, T, z.stride}; };
            lora_up(be, head(u), slice(p.w_a, h), head(r));
            lora_up(be, head(u), slice(p.w_x, h), head(g));
        }
        for (std::size_t i = 0; i < D; ++i) {
            S const lambda = static_cast<S>(p.time_decay.data[i]), softplus = std::max(lambda, S{0}) + std::log1p(std::exp(-std::abs(lambda)));
            for (std::size_t t = 0; t < T; ++t) log_a[t][i] = -c * softplus;
        }
        sigmoid_gate(be, r, log_a);
        sigmoid_gate(be, g, u);

        // h = a h + sqrt(1 - a^2) * u, from a - 1, which keeps the digits of slow channels ;  out = linear_out . (gelu(linear_y . x) * h)
        affine(p.linear_y, p.b_y, x, g);
        for (std::size_t t = 0; t < T; ++t)
            for (std::size_t i = 0; i < D; ++i) {
                S const change = std::expm1(log_a[t][i]), z = g[t][i];
                S& h = s.h.data()[i];
                h += change * h + std::sqrt(-change * (2 + change)) * u[t][i];
                g[t][i] = z / 2 * (1 + std::tanh(S(0.7978845608028654) * (z + S(0.044715) * z * z * z))) * h;
            }
        affine(p.linear_out, p.b_out, g, y);
    }
};

}  // namespace mixers
