// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>

#include "../commands/progress.hpp"
#include "with_types.hpp"

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

private:
    Model lm_;
    gf::session<Model> session_;
};

template <gf::config C>
std::unique_ptr<any_model> open_model(std::filesystem::path const& path, weight_type weights, cache_type cache) {
    return with_types(weights, cache, [&]<class Weight, class Cache>(Weight, Cache) -> std::unique_ptr<any_model> {
        using model = gf::model<C, gf::simd<Weight>, Cache>;
        return std::make_unique<model_of<model>>(path.empty() ? model::random(1) : model::load(path));
    });
}

}  // namespace bench
