// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "any_model.hpp"
#include "observed.hpp"

namespace quantize {

template <gf::config C>
class model_of final : public any_model {
    using model = gf::model<C, gf::simd<observed>, gf::expanded_kv<float>>;

public:
    model_of(std::filesystem::path const& path, gf::load_options const& options) : lm_(model::load(path, options)) {}
    std::vector<gf::weight_tensor> weights() const override { return lm_.weights(); }
    double score(std::span<gf::token const> tokens) const override {
        double sum = 0;
        for (double const log_probability : gf::session{lm_}.score(tokens)) sum += log_probability;
        return sum;
    }

private:
    model lm_;
};

template <gf::config C>
std::unique_ptr<any_model> model_functions<C>::open(std::filesystem::path const& path, gf::load_options const& options) {
    return std::make_unique<model_of<C>>(path, options);
}

template <gf::config C>
void model_functions<C>::round(std::filesystem::path const& from, std::filesystem::path const& to, weight_type weights, gf::load_options const& options) {
    if (weights == weight_type::int4)
        gf::model<C, gf::simd<gf::int4>>::load(from, options).save(to);
    else
        gf::model<C, gf::simd<gf::int8>>::load(from, options).save(to);
}

}  // namespace quantize
