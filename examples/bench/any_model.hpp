// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>

#include <goldfinch/backend/counting.hpp>
#include <goldfinch/goldfinch.hpp>

#include "../commands/any_session.hpp"
#include "../commands/shakespeare.hpp"

namespace bench {

namespace gf = goldfinch;
using commands::cache_type;

enum class weight_type { bf16, int8, int4 };

/// A model whose type was chosen at run time, with a session whose forks are measured, so that all tests have the same past.
class any_model {
public:
    virtual ~any_model() = default;
    virtual void threads(std::size_t n) = 0;
    virtual std::size_t position() const = 0;     ///< of the session
    virtual std::size_t cache_bytes() const = 0;  ///< of the session
    virtual void append(std::span<gf::token const> tokens) = 0;
    virtual void logits() = 0;
    /// Seconds that a fork takes to read tokens.
    virtual double prefill(std::span<gf::token const> tokens) const = 0;
    /// Seconds that a fork takes for a step with each of these tokens.
    virtual double decode(std::span<gf::token const> tokens) const = 0;
    virtual gf::cost prefill_cost(std::size_t tokens) const = 0;
    /// Of a step in such a context, where the working set holds what fits in it: those keys and values are read and the others made.
    virtual gf::cost decode_cost(std::size_t context) const = 0;
};

/// Opens a checkpoint as a model of config C, or makes one with random weights where the path is empty. Each C is instantiated in a file of
/// its own (models_*.cpp): it is a dozen models, and as many that count.
template <gf::config C>
std::unique_ptr<any_model> open_model(std::filesystem::path const& path, weight_type weights, cache_type cache);

struct shape {
    char const* name;
    gf::config cfg;
    std::unique_ptr<any_model> (*open)(std::filesystem::path const& path, weight_type weights, cache_type cache);
};

/// What can be measured. To add a shape: a line here, and a file that instantiates it as models_small.cpp does.
inline constexpr shape shapes[] = {
    {"L6 D128", commands::shakespeare, open_model<commands::shakespeare>},
    {"L12 D768", gf::presets::goldfinch_0b1, open_model<gf::presets::goldfinch_0b1>},
    {"L24 D2048", gf::presets::goldfinch_1b5, open_model<gf::presets::goldfinch_1b5>},
};

}  // namespace bench
