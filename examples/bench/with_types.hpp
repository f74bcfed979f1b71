// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <goldfinch/goldfinch.hpp>

#include "any_model.hpp"

namespace bench {

/// f(a value of the weights' type, a value of the cache's).
template <class F>
auto with_types(weight_type weights, cache_type cache, F const& f) {
    auto const with_cache = [&](auto weight) {
        switch (cache) {
            case cache_type::compressed_int8: return f(weight, gf::compressed_keys<gf::int8>{});
            case cache_type::full: return f(weight, gf::full_keys<gf::bf16>{});
            case cache_type::expanded: return f(weight, gf::expanded_kv<gf::bf16>{});
            case cache_type::expanded_int8: return f(weight, gf::expanded_kv<gf::int8>{});
            default: return f(weight, gf::compressed_keys<gf::bf16>{});
        }
    };
    switch (weights) {
        case weight_type::int8: return with_cache(gf::int8{});
        case weight_type::int4: return with_cache(gf::int4{});
        default: return with_cache(gf::bf16{});
    }
}

}  // namespace bench
