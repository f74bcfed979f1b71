// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <type_traits>

#include <goldfinch/cache/token_rows.hpp>
#include <goldfinch/numeric.hpp>

namespace goldfinch {

/// What the authors' code keeps: a token id and the key k_t that all GOLD blocks share, n_embd values a token; Value is bf16 or
/// float. Spares the TokenCat product of compressed_keys.
template <class Value = bf16>
struct full_keys {
    static_assert(std::is_same_v<Value, float> || std::is_same_v<Value, bf16>, "goldfinch: full_keys<Value> takes float or goldfinch::bf16");
    using value = Value;
    static constexpr char const* name = "full_keys";

    template <class Backend, class Source>
    class store : public detail::token_rows<Backend, Source, Value, Source::width> {
        using S = typename Backend::scalar;
        static constexpr std::size_t D = Source::width, Z = Source::key_width;

    public:
        /// Adds tokens with their embeddings e [T, D] and compressed keys c [T, Z].
        void append(Backend const& be, Source const& source, std::span<token const> tokens, inputs<Backend, D> e, inputs<Backend, Z> c) {
            temporaries tmp(be);
            auto const k = tmp.template sequence<S, D>(e.size);
            source.expand(be, e, c, k);
            this->append_rows(be, tokens, k);
        }

        /// One run through the GOLD blocks.
        class pass {
        public:
            pass(Backend const&, Source const& source, store const& cache) : source_(source), cache_(cache) {}

            template <std::size_t H>
            void attend(Backend const& be, std::size_t block, inputs<Backend, D> q, std::size_t q_position, outputs<Backend, D> y) const {
                auto const keys = [&](Backend const& worker, std::size_t first, inputs<Backend, D>, outputs<Backend, D> k) {
                    cache_.read_rows(worker, first, k.size, k);
                    return k;
                };
                cache_.template attend_with<H>(be, source_, block, q, q_position, keys, y);
            }

        private:
            Source const& source_;
            store const& cache_;
        };
    };
};

}  // namespace goldfinch
