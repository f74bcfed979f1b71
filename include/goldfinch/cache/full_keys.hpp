// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <type_traits>

#include <goldfinch/cache/token_keys.hpp>
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
    class store : public detail::token_keys<Backend, Source, Value, Source::width> {
        static constexpr std::size_t D = Source::width, Z = Source::key_width;

    public:
        using pass = detail::token_keys_pass<Backend, Source, store>;
        static constexpr bool keeps_shared_keys = true;

        static void append(Backend const& be, Source const& source, no_state const&, batch<typename Backend::scalar> const& sequences,
                           store* const* stores, std::span<token const> tokens, inputs<Backend, D> e, inputs<Backend, Z> c) {
            auto const k = temporary<D>(be, e.size);
            source.expand(be, e, c, k);
            for (std::size_t i = 0; i < sequences.size; ++i) {
                std::size_t const first = sequences.first[i], n = sequences.rows(i);
                stores[i]->append_rows(be, tokens.subspan(first, n), k.rows(first, n));
            }
        }
    };
};

}  // namespace goldfinch
