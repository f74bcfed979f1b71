// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>

#include <goldfinch/backend/counting.hpp>
#include <goldfinch/config.hpp>

#include "../commands/shakespeare.hpp"

namespace bench {

namespace gf = goldfinch;

enum class weight_type { bf16, int8, int4 };
enum class cache_type { compressed, compressed_int8, full, expanded, expanded_int8 };

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
};

/// Opens a checkpoint as a model of config C, or makes one with random weights where the path is empty. Each C is instantiated in a file of
/// its own (models_*.cpp): it is fifteen models.
template <gf::config C>
std::unique_ptr<any_model> open_model(std::filesystem::path const& path, weight_type weights, cache_type cache);

/// What such a model costs, as counted.
struct model_costs {
    gf::cost (*prefill)(std::size_t tokens);
    /// Of a step in such a context, where the working set holds what fits in it: those keys and values are read and the others made.
    gf::cost (*decode)(std::size_t context);
};

/// Instantiated in costs_*.cpp, apart from the models: as many on a backend without arithmetic, so that no compiler needs the memory for both.
template <gf::config C>
model_costs costs_of(weight_type weights, cache_type cache);

struct shape {
    char const* name;
    gf::config cfg;
    std::unique_ptr<any_model> (*open)(std::filesystem::path const& path, weight_type weights, cache_type cache);
    model_costs (*costs)(weight_type weights, cache_type cache);
};

/// What can be measured. To add a shape: a line here, and two files that instantiate it as models_small.cpp and costs_small.cpp do.
inline constexpr shape shapes[] = {
    {"L6 D128", commands::shakespeare, open_model<commands::shakespeare>, costs_of<commands::shakespeare>},
    {"L12 D768", gf::presets::goldfinch_0b1, open_model<gf::presets::goldfinch_0b1>, costs_of<gf::presets::goldfinch_0b1>},
    {"L24 D2048", gf::presets::goldfinch_1b5, open_model<gf::presets::goldfinch_1b5>, costs_of<gf::presets::goldfinch_1b5>},
};

}  // namespace bench
