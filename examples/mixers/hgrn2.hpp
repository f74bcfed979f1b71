// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <goldfinch/goldfinch.hpp>

#include <cmath>
#include <cstddef>

namespace mixers {

namespace gf = goldfinch;

/// HGRN2 time mix: a gated linear RNN whose state an outer product expands to a matrix a head (arXiv 2404.07904, section 3). A forget
/// gate that cannot fall below a learned bound decides what a row of the state keeps, and one minus it is the key. Query, norm and
/// biases are those of the authors' language models: silu, an RMS norm without weights over all heads, no biases.
template <gf::config C>
struct hgrn2 : gf::valid_config<C> {
    static constexpr gf::config cfg = gf::valid_config<C>::cfg;
    static constexpr std::size_t D = cfg.n_embd, N = cfg.head_size, H = D / N;

    static constexpr std::size_t width = D;
    static constexpr char const* name = "hgrn2";

    template <class Backend>
    struct weights {
        using T = typename Backend::weight const;
        // In [0, 1), as used: of the paper's cumulative softmax over all layers, this layer's entry. Random models draw names with
        // time_ from [0, 1).
        gf::channel_vector<T, D> time_lower_bound;
        gf::matrix<T, D, D> query, forget, value, output;

        static constexpr void list(auto& self, auto const& f) {
            f("time_lower_bound", self.time_lower_bound);
            f("query.weight", self.query);
            f("forget.weight", self.forget);
            f("value.weight", self.value);
            f("output.weight", self.output);
        }
    };

    template <class Backend>
    struct state {
        gf::state_tensor<Backend, H, N, N> memory;  // [head][key channel][value channel]

        static constexpr void list(auto& self, auto const& f) { f("memory", self.memory); }
    };

    /// x [T, D], the normalised input, to y [T, D]; advances the state by T tokens.
    template <class Backend>
    static void forward(Backend const& be, weights<Backend> const& p, state<Backend>& s, gf::inputs<Backend, D> x, gf::outputs<Backend, D> y) {
        using S = typename Backend::scalar;
        gf::temporaries tmp(be);
        std::size_t const T = x.size;
        auto const q = tmp.template sequence<S, D>(T), k = tmp.template sequence<S, D>(T), v = tmp.template sequence<S, D>(T);
        auto const f = tmp.template sequence<S, D>(T);
        auto const qk = tmp.template sequence<S, H>(T);
        linear(be, p.query, x, q);
        linear(be, p.forget, x, k);
        linear(be, p.value, x, v);

        // f = b + (1 - b) * sigmoid(forget . x) ;  k = 1 - f, written so that small keys keep their digits ;  q = silu(query . x)
        for (std::size_t t = 0; t < T; ++t)
            for (std::size_t h = 0; h < H; ++h) {
                S product = 0;
                for (std::size_t i = h * N; i < (h + 1) * N; ++i) {
                    S const bound = static_cast<S>(p.time_lower_bound.data[i]);
                    k[t][i] = (1 - bound) / (1 + std::exp(k[t][i]));
                    f[t][i] = 1 - k[t][i];
                    S const query = q[t][i] / (1 + std::exp(-q[t][i]));
                    product += query * k[t][i];
                    q[t][i] = query * f[t][i];
                }
                qk[t][h] = product;
            }

        // S = diag(f) S + k^T v ;  o = q S. wkv6 reads S before it adds the token: o = (q * f) S_before + (q . k) v
        wkv6(be, q, k, v, f, *s.memory, q);
        for (std::size_t t = 0; t < T; ++t)
            for (std::size_t i = 0; i < D; ++i) q[t][i] += qk[t][i / N] * v[t][i];

        // out = output . (o / rms(o))
        rms_norm(be, q, q);
        linear(be, p.output, q, y);
    }
};

}  // namespace mixers
