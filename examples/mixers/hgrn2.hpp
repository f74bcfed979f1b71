// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>

#include <goldfinch/batch.hpp>
#include <goldfinch/compiler.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/layer/weights.hpp>
#include <goldfinch/view.hpp>

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
        gf::linear_weights<Backend, D, D> query, forget, value, output;

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

    /// x [T, D], the normalised input, to y [T, D]; advances the states by the tokens of x.
    template <class Backend>
    static void forward(Backend const& be, weights<Backend> const& p, state<Backend> const& s, gf::inputs<Backend, D> x, gf::outputs<Backend, D> y) {
        using S = typename Backend::scalar;
        std::size_t const T = x.size;
        auto const q = temporary<D>(be, T), k = temporary<D>(be, T), v = temporary<D>(be, T), f = temporary<D>(be, T), o = temporary<D>(be, T);
        auto const qk = temporary<H>(be, T);
        linear(be, p.query, x, q);
        linear(be, p.forget, x, k);
        linear(be, p.value, x, v);

        // f = b + (1 - b) * sigmoid(forget . x) ;  k = 1 - f, written so that small keys keep their digits ;  q = silu(query . x)
        transform(be, [] GOLDFINCH_FN(S& key, S& keep, S& query, S bound) {
            key = (1 - bound) / (1 + std::exp(key));
            keep = 1 - key;
            query = query / (1 + std::exp(-query));
        }, k, f, q, p.time_lower_bound);

        // S = diag(f) S + k^T v ;  o = q S. wkv6 reads S before it adds the token: o = (q * f) S_before + (q . k) v
        inner_product(be, q, k, qk);
        transform(be, [] GOLDFINCH_FN(S& query, S keep) { query *= keep; }, q, f);
        wkv6(be, q, k, v, f, s.memory, o);
        transform(be, [] GOLDFINCH_FN(S& out, S product, S value) { out += product * value; }, o, qk, v);

        // out = output . (o / rms(o))
        rms_norm(be, o, o);
        linear(be, p.output, o, y);
    }
};

}  // namespace mixers
