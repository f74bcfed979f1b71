// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <utility>

#include "../commands/progress.hpp"
#include "any_model.hpp"

namespace bench {

template <class Model>
class model_of final : public any_model {
public:
    explicit model_of(Model lm) : lm_(std::move(lm)), session_(lm_) {}
    void threads(std::size_t n) override { lm_.threads(n); }
    std::size_t position() const override { return session_.position(); }
    std::size_t cache_bytes() const override { return session_.cache_bytes(); }
    void append(std::span<gf::token const> tokens) override { session_.append(tokens); }
    void logits() override { session_.logits(); }
    double prefill(std::span<gf::token const> tokens) const override {
        auto fork = session_;
        commands::stopwatch const watch;
        fork.append(tokens);
        return watch.seconds();
    }
    double decode(std::span<gf::token const> tokens) const override {
        auto fork = session_;
        commands::stopwatch const watch;
        for (gf::token const t : tokens) fork.step(t);
        return watch.seconds();
    }
    gf::cost prefill_cost(std::size_t tokens) const override { return gf::prefill_cost<Model>(tokens); }
    gf::cost decode_cost(std::size_t context) const override {
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

private:
    Model lm_;
    gf::session<Model> session_;
};

template <gf::config C>
std::unique_ptr<any_model> open_model(std::filesystem::path const& path, weight_type weights, cache_type cache) {
    auto const open = [&]<class Weight, class Cache>(Weight, Cache) -> std::unique_ptr<any_model> {
        using model = gf::model<C, gf::simd<Weight>, Cache>;
        return std::make_unique<model_of<model>>(path.empty() ? model::random(1) : model::load(path));
    };
    auto const with_cache = [&](auto weight) {
        switch (cache) {
            case cache_type::compressed_int8: return open(weight, gf::compressed_keys<gf::int8>{});
            case cache_type::full: return open(weight, gf::full_keys<gf::bf16>{});
            case cache_type::expanded: return open(weight, gf::expanded_kv<gf::bf16>{});
            default: return open(weight, gf::compressed_keys<gf::bf16>{});
        }
    };
    switch (weights) {
        case weight_type::int8: return with_cache(gf::int8{});
        case weight_type::int4: return with_cache(gf::int4{});
        default: return with_cache(gf::bf16{});
    }
}

}  // namespace bench
