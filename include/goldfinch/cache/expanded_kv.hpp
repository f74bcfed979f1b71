// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <type_traits>

#include <goldfinch/batch.hpp>
#include <goldfinch/cache/own_keys.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/detail/run_memory.hpp>
#include <goldfinch/layer/state.hpp>
#include <goldfinch/layer/weights.hpp>
#include <goldfinch/numeric.hpp>

namespace goldfinch {

/// Keys and values of every GOLD block, 2 * n_gold * n_embd values a token, made once when a token is appended; Value is bf16, float, or
/// int8 with a scale for the key and one for the value. The most memory, the least work a cached token.
template <class Value = bf16>
struct expanded_kv {
    static_assert(std::is_same_v<Value, float> || std::is_same_v<Value, bf16> || std::is_same_v<Value, int8>,
                  "goldfinch: expanded_kv<Value> takes float, goldfinch::bf16 or goldfinch::int8");
    using value = Value;
    static constexpr char const* name = "expanded_kv";

    template <class Backend, class Source>
    class store {
        using S = typename Backend::scalar;
        static constexpr std::size_t D = Source::width, Z = Source::key_width, G = Source::n_gold;
        using rows = detail::key_value_rows<Backend, Value, D>;

    public:
        static constexpr std::size_t row_bytes = G * rows::rows::row_bytes;
        static constexpr std::size_t rebuilt_bytes = 0;

        /// The last rows, for the next token's shifts.
        struct state {
            state_tensor<Backend, D> o, k;
            static constexpr void list(auto& self, auto const& f) { f("o", self.o), f("k", self.k); }
        };

        std::size_t size() const { return blocks_[0].kept().size(); }
        std::size_t bytes() const {
            std::size_t sum = 0;
            for (rows const& block : blocks_) sum += block.kept().bytes();
            return sum;
        }
        void reserve(std::size_t n) {
            for (rows& block : blocks_) block.kept().reserve(n);
        }
        void resize(std::size_t n) {
            for (rows& block : blocks_) block.kept().reserve(n), block.kept().grow(n);
        }
        static void transfer(auto& self, auto& archive) {
            for (auto& block : self.blocks_) rows::rows::transfer(block.kept(), archive);
        }
        bool valid() const { return true; }

        static void append(Backend const& be, Source const& source, state const& s, batch<S> const& sequences, store* const* stores,
                           std::span<token const>, inputs<Backend, D> e, inputs<Backend, Z> c) {
            auto const k = temporary<D>(be, e.size), o = temporary<D>(be, e.size);
            source.expand(be, e, c, k);
            rms_norm(be, e, o);
            source.each_gold([&](auto mixer, auto const& p, std::size_t block) {
                auto const K = temporary<D>(be, e.size), V = temporary<D>(be, e.size);
                decltype(mixer)::key_value(be, p, sequences, s.o, o, s.k, k, K, V);
                for (std::size_t i = 0; i < sequences.size; ++i) {
                    std::size_t const first = sequences.first[i], n = sequences.rows(i);
                    stores[i]->blocks_[block].append(be, outputs<Backend, D>(K).rows(first, n), outputs<Backend, D>(V).rows(first, n));
                }
            });
            keep_last(be, o, s.o);
            keep_last(be, k, s.k);
        }

        class pass {
        public:
            pass(Backend const&, Source const& source, batch<S> const& sequences, store const* const* stores)
                : sequences_(sequences), rows_of_(sequences.size, source.lists) {
                for (std::size_t i = 0; i < sequences.size; ++i) rows_of_[i] = stores[i]->blocks_.data();
            }

            class block_keys : detail::own_keys<Backend, rows const, D> {
                using base = detail::own_keys<Backend, rows const, D>;

            public:
                using base::base, base::sequences;

                template <class Mixer, class Weights>
                void attend(Backend const& be, Weights const&, inputs<Backend, D> q, outputs<Backend, D> y) const {
                    base::template attend<Mixer::H>(be, q, y);
                }
            };
            block_keys block(std::size_t block) const { return {sequences_, rows_of_.data(), block}; }

        private:
            batch<S> const& sequences_;
            detail::run_vector<rows const*> rows_of_;
        };

    private:
        std::array<rows, G> blocks_;
    };
};

}  // namespace goldfinch
