// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include <goldfinch/goldfinch.hpp>

#include "../commands/shakespeare.hpp"

namespace quantize {

namespace gf = goldfinch;

enum class weight_type { int4, int8 };

/// A model in float32 whose shape was chosen at run time, with products that can be observed.
class any_model {
public:
    virtual ~any_model() = default;
    virtual std::vector<gf::weight_tensor> weights() const = 0;
    /// The sum of the log-probabilities of all tokens but the first, in a session of their own.
    virtual double score(std::span<gf::token const> tokens) const = 0;
};

/// What there is for a model of config C. Each C is instantiated in a file of its own or beside those of its width, whose operations it shares.
template <gf::config C>
struct model_functions {
    /// Reads a checkpoint.
    static std::unique_ptr<any_model> open(std::filesystem::path const& path, gf::load_options const& options);
    /// Reads a checkpoint and writes it with rounded weights.
    static void round(std::filesystem::path const& from, std::filesystem::path const& to, weight_type weights, gf::load_options const& options);
};

/// A model that can be quantized.
struct known_model {
    char const* name;
    gf::config cfg;
    std::unique_ptr<any_model> (*open)(std::filesystem::path const& path, gf::load_options const& options);
    void (*round)(std::filesystem::path const& from, std::filesystem::path const& to, weight_type weights, gf::load_options const& options);
};

/// Its entry in a list.
template <gf::config C>
constexpr known_model known(char const* name) {
    return {name, C, model_functions<C>::open, model_functions<C>::round};
}

/// Every model that can be quantized, the same as commands::known_models. To add yours: a line here, and one that instantiates it as models_small.cpp does.
inline constexpr known_model known_models[] = {
    known<commands::shakespeare>("shakespeare (bundled)"),
    known<gf::presets::goldfinch_0b1>("goldfinch_0b1"),
    known<gf::presets::goldfinch_0b1_ratio2>("goldfinch_0b1_ratio2"),
    known<gf::presets::goldfinch_0b1_ratio6>("goldfinch_0b1_ratio6"),
    known<gf::presets::goldfinch_0b1_rope>("goldfinch_0b1_rope"),
    known<gf::presets::goldfinch_1b5>("goldfinch_1b5"),
    known<gf::presets::goldfinch_1b5_uncompressed>("goldfinch_1b5_uncompressed"),
};

}  // namespace quantize
