// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <type_traits>

#include <goldfinch/cache/token_keys.hpp>
#include <goldfinch/forward.hpp>
#include <goldfinch/numeric.hpp>

namespace goldfinch {

/// The paper's cache: a token id and one compressed key c_t of n_embd / kv_cache_compression_ratio values a token; Value is
/// bf16, float, or int8 with a scale a token. The keys and values of the GOLD blocks are made again from it, page by page, at every
/// step in which the model's working set does not have them: the least memory, the most work a cached token.
template <class Value>
struct compressed_keys {
    static_assert(std::is_same_v<Value, float> || std::is_same_v<Value, bf16> || std::is_same_v<Value, int8>,
                  "goldfinch: compressed_keys<Value> takes float, goldfinch::bf16 or goldfinch::int8");
    using value = Value;
    static constexpr char const* name = "compressed_keys";

    template <class Backend, class Source>
    class store : public detail::token_keys<Backend, Source, Value, Source::key_width> {
        static constexpr std::size_t D = Source::width, Z = Source::key_width;

    public:
        using pass = detail::token_keys_pass<Backend, Source, store>;
        static constexpr bool keeps_shared_keys = false;

        static void append(Backend const& be, Source const&, no_state const&, batch<typename Backend::scalar> const& sequences, store* const* stores,
                           std::span<token const> tokens, inputs<Backend, D>, inputs<Backend, Z> c) {
            for (std::size_t i = 0; i < sequences.size; ++i) {
                std::size_t const first = sequences.first[i], n = sequences.rows(i);
                stores[i]->append_rows(be, tokens.subspan(first, n), c.rows(first, n));
            }
        }
    };
};

}  // namespace goldfinch
