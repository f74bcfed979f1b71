// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "any_session.hpp"

namespace commands {

template <class Model>
class session_of final : public session_interface {
public:
    explicit session_of(Model const& lm) : session_(lm) {}
    std::unique_ptr<session_interface> copy() const override { return std::make_unique<session_of>(*this); }
    void append(std::span<gf::token const> tokens) override { session_.append(tokens); }
    std::span<float const> logits() override { return session_.logits(); }
    std::span<float const> step(std::span<gf::token const> tokens) override { return session_.step(tokens); }
    std::vector<double> score(std::span<gf::token const> tokens) override { return session_.score(tokens); }
    std::size_t position() const override { return session_.position(); }
    std::size_t cache_bytes() const override { return session_.cache_bytes(); }

private:
    gf::session<Model> session_;
};

template <gf::config C>
any_session open_model(std::filesystem::path const& path, cache_type cache, gf::load_options const& options) {
    auto const open = [&]<class Cache>(Cache) -> any_session {
        using model = gf::model<C, gf::simd<gf::bf16>, Cache>;
        return any_session(std::make_unique<session_of<model>>(model::load(path, options)));
    };
    switch (cache) {
        case cache_type::compressed_int8: return open(gf::compressed_keys<gf::int8>{});
        case cache_type::full: return open(gf::full_keys<gf::bf16>{});
        case cache_type::expanded: return open(gf::expanded_kv<gf::bf16>{});
        default: return open(gf::compressed_keys<gf::bf16>{});
    }
}

}  // namespace commands
