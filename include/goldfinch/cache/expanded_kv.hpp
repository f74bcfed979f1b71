// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <type_traits>

#include <goldfinch/backend/cpu.hpp>
#include <goldfinch/cache/key_value_rows.hpp>
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
        using rows = detail::key_value_rows<Backend, Value, D>;

    public:
        std::size_t size() const { return blocks_[0].size(); }
        std::size_t bytes() const {
            std::size_t sum = 2 * D * sizeof(S);
            for (rows const& block : blocks_) sum += block.bytes();
            return sum;
        }
        void reserve(std::size_t n) {
            for (rows& block : blocks_) block.reserve(n);
        }

        /// Adds tokens with their embeddings e [T, D] and compressed keys c [T, Z].
        void append(Backend const& be, Source const& source, std::span<token const>, inputs<Backend, D> e, inputs<Backend, Z> c) {
            temporaries tmp(be);
            std::size_t const T = e.size, first = size();
            auto const k = tmp.template sequence<S, D>(T), o = tmp.template sequence<S, D>(T);
            auto const K = tmp.template sequence<S, D>(T), V = tmp.template sequence<S, D>(T);
            source.expand(be, e, c, k);
            rms_norm(be, e, o);
            for (std::size_t block = 0; block < G; ++block) {
                source.key_value(be, block, first, *o_prev_, o, *k_prev_, k, K, V);
                blocks_[block].append(be, K, V);
            }
            keep_last(be, o, *o_prev_);
            keep_last(be, k, *k_prev_);
        }

        /// One run through the GOLD blocks.
        class pass {
        public:
            pass(Backend const&, Source const&, store const& cache) : cache_(cache) {}

            template <std::size_t H>
            void attend(Backend const& be, std::size_t block, inputs<Backend, D> q, std::size_t q_position, outputs<Backend, D> y) const {
                cache_.blocks_[block].template attend<H>(be, q, q_position, y);
            }

        private:
            store const& cache_;
        };

        /// Makes it n rows, to be read by transfer.
        void resize(std::size_t n) {
            for (rows& block : blocks_) block.resize(n);
        }
        /// Passes all rows through an archive, which reads or writes them.
        static void transfer(auto& self, auto& archive) {
            archive.bytes(self.o_prev_.data(), D * sizeof(S));
            archive.bytes(self.k_prev_.data(), D * sizeof(S));
            for (auto& block : self.blocks_) rows::transfer(block, archive);
        }
        /// Bytes that transfer moves: for a row, and besides.
        static constexpr std::size_t row_bytes = G * rows::row_bytes, fixed_bytes = 2 * D * sizeof(S);
        bool valid() const { return true; }

    private:
        std::array<rows, G> blocks_;
        state_tensor<Backend, D> o_prev_, k_prev_;  // the last rows, for the next token's shifts
    };
};

}  // namespace goldfinch
