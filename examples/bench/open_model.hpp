// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "model_of.hpp"
#include "with_types.hpp"

namespace bench {

template <gf::config C>
std::unique_ptr<any_model> open_model(std::filesystem::path const& path, weight_type weights, cache_type cache) {
    return with_types(weights, cache, [&]<class Weight, class Cache>(Weight, Cache) { return open<gf::model<C, gf::simd<Weight>, Cache>>(path); });
}

}  // namespace bench
