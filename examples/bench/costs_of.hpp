// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include "with_types.hpp"

namespace bench {

template <class Model>
gf::cost prefill_cost(std::size_t tokens) {
    return gf::prefill_cost<Model>(tokens);
}

template <class Model>
gf::cost decode_cost(std::size_t context) {
    gf::cost made = gf::decode_cost<Model>(context);
    if constexpr (Model::working_set_bytes_per_token > 0) {
        // expanded_kv<bf16> reads what the working set holds, in the same type. Costs grow linearly with the context.
        using expanded = gf::model<Model::cfg, typename Model::backend_type, gf::expanded_kv<gf::bf16>, typename Model::stack_type>;
        static_assert(Model::working_set_bytes_per_token == gf::session<expanded>::cache_bytes_per_token);
        gf::cost const read = gf::decode_cost<expanded>(context);
        double const kept = std::min(1.0, static_cast<double>(Model::default_working_set_tokens) / static_cast<double>(context));
        auto const mix = [&](double& of_made, double of_read) { of_made += kept * (of_read - of_made); };
        mix(made.flops, read.flops);
        mix(made.weight_bytes, read.weight_bytes);
        mix(made.cache_bytes, read.cache_bytes);
    }
    return made;
}

template <gf::config C>
model_costs costs_of(weight_type weights, cache_type cache) {
    return with_types(weights, cache, []<class Weight, class Cache>(Weight, Cache) {
        using model = gf::model<C, gf::simd<Weight>, Cache>;
        return model_costs{prefill_cost<model>, decode_cost<model>};
    });
}

}  // namespace bench
