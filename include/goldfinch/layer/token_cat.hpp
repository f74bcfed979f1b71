// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <goldfinch/config.hpp>
#include <goldfinch/layer/weights.hpp>
#include <goldfinch/view.hpp>

namespace goldfinch {

/// TokenCat: compresses the recurrent part's output to a short key a token, and makes the key stream that all GOLD blocks
/// share from it and the token's embedding (arXiv 2407.12077). It divides a stack: the blocks below it run on
/// every token, those above only where logits are asked for.
template <config C>
struct token_cat : valid_config<C> {
    static constexpr config cfg = valid_config<C>::cfg;
    static constexpr std::size_t D = cfg.n_embd, Z = D / cfg.kv_cache_compression_ratio;

    static constexpr std::size_t width = D;
    static constexpr std::size_t key_width = Z;  ///< values of a compressed key
    static constexpr char const* name = "token_cat";

    template <class Backend>
    struct weights {
        linear_weights<Backend, Z, D> w_kv_cache_a;
        sparse_input_weights<Backend, D, D + Z> w_kv_cache_b;  // of which products with e_t alone are kept (add_compressed)

        static constexpr void list(auto& self, auto const& f) {
            f("w_kv_cache_a.weight", self.w_kv_cache_a);
            f("w_kv_cache_b.weight", self.w_kv_cache_b);
        }
    };

    /// c_t = w_kv_cache_a . x_t: x [T, D], the recurrent part's output, to c [T, Z].
    template <class Backend>
    static void compress(Backend const& be, weights<Backend> const& p, inputs<Backend, D> x, outputs<Backend, Z> c) {
        linear(be, p.w_kv_cache_a, x, c);
    }

    /// Whether the parts of k_t, that of the token and that of the compressed key, can be made alone.
    template <class Backend>
    static constexpr bool has_parts = requires(weights<Backend> const& p) {
        p.w_kv_cache_b.template inputs<0, D>();
        p.w_kv_cache_b.template inputs<D, Z>();
    };

    /// w_kv_cache_b . concat(e_t, 0), the part of k_t that depends on the token alone: e [T, D] to y [T, D].
    template <class Backend>
    requires has_parts<Backend>
    static void expand_embedding(Backend const& be, weights<Backend> const& p, inputs<Backend, D> e, outputs<Backend, D> y) {
        linear(be, p.w_kv_cache_b.template inputs<0, D>(), e, y);
    }
    /// k_t from that part, in its place, and c [T, Z].
    template <class Backend>
    requires has_parts<Backend>
    static void add_compressed(Backend const& be, weights<Backend> const& p, inputs<Backend, Z> c, outputs<Backend, D> k) {
        auto const y = temporary<D>(be, c.size);
        linear(be, p.w_kv_cache_b.template inputs<D, Z>(), c, y);
        add(be, y, k);
        rms_norm(be, k, k);
    }

    /// k_t = rms(w_kv_cache_b . concat(e_t, c_t)): e [T, D], the normalised embedding, and c [T, Z] to k [T, D].
    template <class Backend>
    static void expand(Backend const& be, weights<Backend> const& p, inputs<Backend, D> e, inputs<Backend, Z> c, outputs<Backend, D> k) {
        if constexpr (has_parts<Backend>) {
            expand_embedding(be, p, e, k);
            add_compressed(be, p, c, k);
        } else {
            auto const ec = temporary<D + Z>(be, e.size);
            copy(be, e, ec.template channels<0, D>());
            copy(be, c, ec.template channels<D, Z>());
            linear(be, p.w_kv_cache_b, ec, k);
            rms_norm(be, k, k);
        }
    }
};

}  // namespace goldfinch
