// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <type_traits>

#include <goldfinch/cache/token_rows.hpp>
#include <goldfinch/numeric.hpp>

namespace goldfinch {

/// The paper's cache: a token id and one compressed key c_t of n_embd / kv_cache_compression_ratio values a token; Value is
/// bf16, float, or int8 with a scale a token. Everything a GOLD block reads is made again from it at every step, tile by tile:
/// the least memory, the most work a cached token.
template <class Value = bf16>
struct compressed_keys {
    static_assert(std::is_same_v<Value, float> || std::is_same_v<Value, bf16> || std::is_same_v<Value, int8>,
                  "goldfinch: compressed_keys<Value> takes float, goldfinch::bf16 or goldfinch::int8");
    using value = Value;
    static constexpr char const* name = "compressed_keys";

    template <class Backend, class Source>
    class store : public detail::token_rows<Backend, Source, Value, Source::key_width> {
        using base = detail::token_rows<Backend, Source, Value, Source::key_width>;
        using S = typename Backend::scalar;
        static constexpr std::size_t D = Source::width, Z = Source::key_width;

    public:
        /// Adds tokens with their embeddings e [T, D] and compressed keys c [T, Z].
        void append(Backend const& be, Source const&, std::span<token const> tokens, inputs<Backend, D>, inputs<Backend, Z> c) {
            this->append_rows(be, tokens, c);
        }

        /// One run through the GOLD blocks. All of them read the same key stream, so as much of it as fits in a bounded
        /// temporary is made once; the rest is made again for each block.
        class pass {
        public:
            pass(Backend const& be, Source const& source, store const& cache) : source_(source), cache_(cache), tmp_(be) {
                constexpr std::size_t most_bytes = std::size_t{32} << 20;
                k_ = tmp_.template sequence<S, D>(std::min(cache.size(), most_bytes / (D * sizeof(S))));
                parallel(be, (k_.size + detail::tile_positions - 1) / detail::tile_positions, [&](Backend const& worker, std::size_t t) {
                    std::size_t const first = t * detail::tile_positions, n = std::min(detail::tile_positions, k_.size - first);
                    temporaries tmp(worker);
                    auto const e = tmp.sequence<S, D>(n);
                    cache_.read_embeddings(worker, source_, first, n, e);
                    cache_.make_keys(worker, source_, first, e, k_.rows(first, n));
                });
            }

            template <std::size_t H>
            void attend(Backend const& be, std::size_t block, inputs<Backend, D> q, std::size_t q_position, outputs<Backend, D> y) const {
                auto const keys = [&](Backend const& worker, std::size_t first, inputs<Backend, D> e, outputs<Backend, D> k) {
                    if (first + e.size <= k_.size) return k_.rows(first, e.size);
                    cache_.make_keys(worker, source_, first, e, k);
                    return k;
                };
                cache_.template attend_with<H>(be, source_, block, q, q_position, keys, y);
            }

        private:
            Source const& source_;
            store const& cache_;
            temporaries tmp_;
            outputs<Backend, D> k_;
        };

    private:
        void make_keys(Backend const& be, Source const& source, std::size_t first, inputs<Backend, D> e, outputs<Backend, D> k) const {
            temporaries tmp(be);
            auto const c = tmp.sequence<S, Z>(e.size);
            this->read_rows(be, first, e.size, c);
            source.expand(be, e, c, k);
        }
    };
};

}  // namespace goldfinch
