// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include <goldfinch/batch.hpp>
#include <goldfinch/cache/pages.hpp>
#include <goldfinch/compiler.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/layer/llama.hpp>
#include <goldfinch/layer/weights.hpp>
#include <goldfinch/view.hpp>

namespace mixers {

namespace gf = goldfinch;

/// Infini-attention (arXiv 2404.07143, section 2): softmax attention within a segment of so many tokens, and a compressive memory of all segments
/// before it, which linear attention reads. A learned gate a head mixes the two. What a segment adds to the memory is what that did not know of it
/// (the paper's "linear + delta"). Rotary embeddings say where in its segment a token stands; the memory does without. The state has one size
/// whatever the length, so that it stands where Finch-C2 does.
template <gf::config C, std::size_t segment>
struct infini_attention : gf::valid_config<C> {
    static_assert(segment > 0, "infini_attention: a segment has a token at least");
    static constexpr gf::config cfg = gf::valid_config<C>::cfg;
    static constexpr std::size_t D = cfg.n_embd, N = cfg.head_size, H = D / N;

    static constexpr std::size_t width = D;
    static constexpr auto name_text = [] {
        std::array<char, 40> text{"infini_attention_"};
        std::size_t end = 16;
        for (std::size_t n = segment; n > 0; n /= 10) ++end;
        for (std::size_t n = segment, i = end; n > 0; n /= 10) text[i--] = static_cast<char>('0' + n % 10);
        return text;
    }();
    static constexpr char const* name = name_text.data();  ///< "infini_attention_64": another segment is another model

    template <class Backend>
    struct weights {
        gf::linear_weights<Backend, D, D> query, key, value, output;
        gf::vector<typename Backend::weight const, H> beta;  // of the gates

        static constexpr void list(auto& self, auto const& f) {
            f("query.weight", self.query);
            f("key.weight", self.key);
            f("value.weight", self.value);
            f("output.weight", self.output);
            f("beta", self.beta);
        }
    };

    /// The memory before the segment, [head][key channel][value channel] and the sum of its keys, and what it will be behind it; the segment's keys
    /// and values.
    template <class Backend>
    struct state {
        gf::state_tensor<Backend, H, N, N> memory, next_memory;
        gf::state_tensor<Backend, D> key_sum, next_key_sum;
        gf::state_tensor<Backend, segment, D> keys, values;

        static constexpr void list(auto& self, auto const& f) {
            f("memory", self.memory);
            f("next_memory", self.next_memory);
            f("key_sum", self.key_sum);
            f("next_key_sum", self.next_key_sum);
            f("keys", self.keys);
            f("values", self.values);
        }
    };

    /// x [T, D], the normalised input, to y [T, D]; advances the states by the tokens of x.
    template <class Backend>
    static void forward(Backend const& be, weights<Backend> const& p, state<Backend> const& s, gf::inputs<Backend, D> x, gf::outputs<Backend, D> y) {
        using S = typename Backend::scalar;
        gf::batch<S> const& sequences = *s.memory.of;
        std::size_t const T = x.size;
        auto const q = temporary<D>(be, T), k = temporary<D>(be, T), v = temporary<D>(be, T), sigma_q = temporary<D>(be, T), sigma_k = temporary<D>(be, T);
        auto const o = temporary<D>(be, T), ones = temporary<D>(be, T);
        linear(be, p.query, x, q);
        linear(be, p.key, x, k);
        linear(be, p.value, x, v);

        transform(be, [] GOLDFINCH_FN(S& one) { one = 1; }, ones);

        // sigma(z) = elu(z) + 1
        transform(be, [] GOLDFINCH_FN(S& to, S z) { to = z > 0 ? z + 1 : std::exp(z); }, sigma_q, q);
        transform(be, [] GOLDFINCH_FN(S& to, S z) { to = z > 0 ? z + 1 : std::exp(z); }, sigma_k, k);

        // Piece by piece, up to a segment's end each: the memory stays what it is through a segment.
        for (std::size_t i = 0; i < sequences.size; ++i)
            for (std::size_t row = sequences.first[i]; row < sequences.first[i + 1];) {
                std::size_t const before = (sequences.position[i] + row - sequences.first[i]) % segment;
                std::size_t const n = std::min(segment - before, sequences.first[i + 1] - row);
                gf::single<S> const one(sequences.state[i], n, before);
                gf::batch<S> const& piece = one;
                state<Backend> mine = s;
                state<Backend>::list(mine, [&](auto const&, auto& tensor) { tensor.of = &piece; });
                auto const out = o.rows(row, n);

                // local = softmax(rope(q) rope(K) / sqrt(N)) V over the segment
                constexpr double base = gf::llama_attention<C>::rope_base;
                rope<N>(be, piece, q.rows(row, n), base, cfg.rope_rescale);
                rope<N>(be, piece, k.rows(row, n), base, cfg.rope_rescale);
                copy(be, k.rows(row, n), rows_of(mine.keys).rows(before, n));
                copy(be, v.rows(row, n), rows_of(mine.values).rows(before, n));
                auto const local = temporary<D>(be, n);
                softmax_attention<H>(be, piece, q.rows(row, n), window<Backend>{rows_of(mine.keys).first(before + n), rows_of(mine.values).first(before + n)}, local);

                // out = g recalled + (1 - g) local, g = sigmoid(beta)
                recall(be, mine, sigma_q.rows(row, n), ones.rows(row, n), out);
                auto const gate = temporary<H>(be, n);
                transform(be, [] GOLDFINCH_FN(S& g, S beta) { g = 1 / (1 + std::exp(-beta)); }, gate, p.beta);
                transform(be, [] GOLDFINCH_FN(S& recalled, S l, S g) { recalled = g * recalled + (1 - g) * l; }, out, local, gate);

                // next_memory += sigma(K)^T (V - what the memory says of K) ;  next_key_sum += sum of sigma(K)
                auto const known = temporary<D>(be, n);
                recall(be, mine, sigma_k.rows(row, n), ones.rows(row, n), known);
                transform(be, [] GOLDFINCH_FN(S& z, S value) { z = value - z; }, known, v.rows(row, n));
                wkv6(be, sigma_q.rows(row, n), sigma_k.rows(row, n), known, ones.rows(row, n), mine.next_memory, local);  // what it reads is not wanted, nor `local` any more
                scan(be, [] GOLDFINCH_FN(S& sum, S key) { sum += key; }, mine.next_key_sum, sigma_k.rows(row, n));
                if (before + n == segment) {
                    copy(be, rows_of(mine.next_memory), rows_of(mine.memory));
                    copy(be, rows_of(mine.next_key_sum), rows_of(mine.key_sum));
                }
                row += n;
            }
        linear(be, p.output, o, y);
    }

private:
    /// y = z M / (z . key_sum) per head, for z [n, D] of sigma and ones [n, D]; zero where there is nothing in the memory yet.
    template <class Backend>
    static void recall(Backend const& be, state<Backend> const& s, gf::inputs<Backend, D> z, gf::outputs<Backend, D> ones, gf::outputs<Backend, D> y) {
        using S = typename Backend::scalar;
        auto const zeros = temporary<D>(be, z.size), weighted = temporary<D>(be, z.size);
        auto const total = temporary<H>(be, z.size);
        clear(be, zeros);
        wkv6(be, z, zeros, zeros, ones, s.memory, y);  // a key of zero and a decay of one: the memory stays
        scan(be, [] GOLDFINCH_FN(S& sum, S& product, S element) { product = sum * element; }, s.key_sum, weighted, z);
        inner_product(be, weighted, ones, total);
        transform(be, [] GOLDFINCH_FN(S& recalled, S sum) { recalled = sum > 0 ? recalled / sum : 0; }, y, total);
    }

    /// A state's tensor as rows of D elements.
    template <class Backend, std::size_t... Extents>
    static gf::outputs<Backend, D> rows_of(gf::state_tensor<Backend, Extents...> const& tensor) {
        return {tensor[0].data, tensor.size / D};
    }

    /// A segment's keys and values so far, as softmax_attention asks for them.
    template <class Backend>
    struct window {
        gf::inputs<Backend, D> keys, values;

        std::size_t positions(std::size_t) const { return keys.size; }
        std::size_t owner(std::size_t i, std::size_t) const { return i; }
        template <class Use>
        void read(Backend const&, std::size_t, std::size_t tile, Use const& use) const {
            std::size_t const first = tile * gf::detail::page_positions, n = std::min(gf::detail::page_positions, keys.size - first);
            use(keys.rows(first, n), values.rows(first, n));
        }
    };
};

}  // namespace mixers
