// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <goldfinch/goldfinch.hpp>

namespace commands {

namespace gf = goldfinch;

/// The caches that the commands offer. Weights are bf16 in all of them.
enum class cache_type { compressed, compressed_int8, full, expanded };

/// A session of some model, and copies of it.
class session_interface {
public:
    virtual ~session_interface() = default;
    virtual std::unique_ptr<session_interface> copy() const = 0;
    virtual void append(std::span<gf::token const> tokens) = 0;
    virtual std::span<float const> logits() = 0;
    virtual std::span<float const> step(std::span<gf::token const> tokens) = 0;
    virtual std::vector<double> score(std::span<gf::token const> tokens) = 0;
    virtual std::size_t position() const = 0;
    virtual std::size_t cache_bytes() const = 0;
};

/// A session whose model's type was chosen at run time: what the commands are written against, so that their code compiles once
/// and not once a model. Your own program knows its model and needs none of this.
class any_session {
public:
    explicit any_session(std::unique_ptr<session_interface> session) : session_(std::move(session)) {}
    any_session(any_session const& other) : session_(other.session_->copy()) {}
    any_session(any_session&&) = default;
    any_session& operator=(any_session const& other) { return *this = any_session(other); }
    any_session& operator=(any_session&&) = default;

    void append(std::span<gf::token const> tokens) { session_->append(tokens); }
    std::span<float const> logits() { return session_->logits(); }
    std::span<float const> step(std::span<gf::token const> tokens) { return session_->step(tokens); }
    std::vector<double> score(std::span<gf::token const> tokens) { return session_->score(tokens); }
    std::size_t position() const { return session_->position(); }
    std::size_t cache_bytes() const { return session_->cache_bytes(); }

private:
    std::unique_ptr<session_interface> session_;
};

/// Loads a checkpoint as a model of config C and begins a session. Each C is instantiated in a file of its own or beside those
/// of its width, whose operations it shares (models_*.cpp).
template <gf::config C>
any_session open_model(std::filesystem::path const& path, cache_type cache, gf::load_options const& options);

}  // namespace commands
