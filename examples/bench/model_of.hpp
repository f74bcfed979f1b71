// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <utility>

#include "../commands/stopwatch.hpp"
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

private:
    Model lm_;
    gf::session<Model> session_;
};

/// A checkpoint, or random weights where the path is empty.
template <class Model>
std::unique_ptr<any_model> open(std::filesystem::path const& path) {
    return std::make_unique<model_of<Model>>(path.empty() ? Model::random(1) : Model::load(path));
}

}  // namespace bench
