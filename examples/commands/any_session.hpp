// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include <goldfinch/goldfinch.hpp>

namespace commands {

namespace gf = goldfinch;

/// The caches that the commands offer. Weights are bf16 in all of them.
enum class cache_type { compressed, compressed_int8, full, expanded };

/// A session whose model's type was chosen at run time: what the commands are written against, so that their code compiles once
/// and not once a model. Your own program knows its model and needs none of this.
class any_session {
public:
    virtual ~any_session() = default;
    virtual void append(std::span<gf::token const> tokens) = 0;
    virtual std::span<float const> logits() = 0;
    virtual std::vector<double> score(std::span<gf::token const> tokens) = 0;
    virtual std::size_t position() const = 0;
    virtual std::size_t cache_bytes() const = 0;
};

/// Loads a checkpoint as a model of config C and begins a session. Each C is instantiated in a file of its own or beside those
/// of its width, whose operations it shares (models_*.cpp).
template <gf::config C>
std::unique_ptr<any_session> open_model(std::filesystem::path const& path, cache_type cache, gf::load_options const& options);

}  // namespace commands
