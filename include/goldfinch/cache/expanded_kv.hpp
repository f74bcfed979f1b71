// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <type_traits>

#include <goldfinch/backend/cpu.hpp>
#include <goldfinch/cache/attend.hpp>
#include <goldfinch/cache/pages.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/layer/parameter.hpp>
#include <goldfinch/numeric.hpp>

namespace goldfinch {

/// Keys and values of every GOLD block, 2 * n_gold * n_embd values a token, made once when a token is appended; Value is bf16
/// or float. The most memory, the least work a cached token.
template <class Value = bf16>
struct expanded_kv {
    static_assert(std::is_same_v<Value, float> || std::is_same_v<Value, bf16>, "goldfinch: expanded_kv<Value> takes float or goldfinch::bf16");
    using value = Value;
    static constexpr char const* name = "expanded_kv";

    template <class Backend, class Source>
    class store {
        using S = typename Backend::scalar;
        static constexpr std::size_t D = Source::width, Z = Source::key_width, G = Source::n_gold;

    public:
        std::size_t size() const { return pages_.size(); }
        std::size_t bytes() const { return pages_.bytes() + 2 * D * sizeof(S); }
        void reserve(std::size_t n) { pages_.reserve(n); }

        /// Adds tokens with their embeddings e [T, D] and compressed keys c [T, Z].
        void append(Backend const& be, Source const& source, std::span<token const> tokens, inputs<Backend, D> e, inputs<Backend, Z> c) {
            temporaries tmp(be);
            std::size_t const T = e.size, first = size();
            reserve(first + tokens.size());
            auto const k = tmp.template sequence<S, D>(T), o = tmp.template sequence<S, D>(T);
            auto const K = tmp.template sequence<S, D>(T), V = tmp.template sequence<S, D>(T);
            source.expand(be, e, c, k);
            rms_norm(be, e, o);
            for (std::size_t block = 0; block < G; ++block) {
                source.key_value(be, block, first, *o_prev_, o, *k_prev_, k, K, V);
                pages_.runs(first, T, [&](page& p, std::size_t row, std::size_t n, std::size_t at) {
                    pack(be, K.rows(at, n), sequence<Value, D>{p.keys[block].data() + row * D, n}, nullptr);
                    pack(be, V.rows(at, n), sequence<Value, D>{p.values[block].data() + row * D, n}, nullptr);
                });
            }
            keep_last(be, o, *o_prev_);
            keep_last(be, k, *k_prev_);
            pages_.grow(first + T);
        }

        /// One run through the GOLD blocks.
        class pass {
        public:
            pass(Backend const&, Source const&, store const& cache) : cache_(cache) {}

            template <std::size_t H>
            void attend(Backend const& be, std::size_t block, inputs<Backend, D> q, std::size_t q_position, outputs<Backend, D> y) const {
                detail::attend_tiles<H>(be, q, q_position, cache_.size(), [&](Backend const&, std::size_t first, std::size_t count, auto const& use) {
                    cache_.pages_.runs(first, count, [&](page const& p, std::size_t row, std::size_t n, std::size_t) {
                        use(sequence<Value const, D>{p.keys[block].data() + row * D, n}, sequence<Value const, D>{p.values[block].data() + row * D, n});
                    });
                }, y);
            }

        private:
            store const& cache_;
        };

        /// Makes it n rows, to be read by transfer.
        void resize(std::size_t n) {
            pages_.reserve(n);
            pages_.grow(n);
        }
        /// Passes all rows through an archive, which reads or writes them.
        static void transfer(auto& self, auto& archive) {
            archive.bytes(self.o_prev_.data(), D * sizeof(S));
            archive.bytes(self.k_prev_.data(), D * sizeof(S));
            self.pages_.runs(0, self.size(), [&](page& p, std::size_t, std::size_t count, std::size_t) {
                for (std::size_t block = 0; block < G; ++block) {
                    archive.bytes(p.keys[block].data(), count * D * sizeof(Value));
                    archive.bytes(p.values[block].data(), count * D * sizeof(Value));
                }
            });
        }
        /// Bytes that transfer moves: for a row, and besides.
        static constexpr std::size_t row_bytes = 2 * G * D * sizeof(Value), fixed_bytes = 2 * D * sizeof(S);
        bool valid() const { return true; }

    private:
        struct alignas(alignment) page {
            static constexpr std::size_t rows = detail::tile_rows;  // a tile is a run of one page
            std::array<std::array<Value, rows * D>, G> keys, values;
        };

        detail::paged<page> pages_;
        state_tensor<Backend, D> o_prev_, k_prev_;  // the last rows, for the next token's shifts
    };
};

}  // namespace goldfinch
