// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "any_session.hpp"
#include "shakespeare.hpp"

namespace commands {

struct known_model {
    char const* name;
    gf::config cfg;
    any_session (*open)(std::filesystem::path const& path, cache_type cache, gf::load_options const& options);
};

/// Every model that the commands can run. To add yours: a line here, and one that instantiates it as models_small.cpp does.
inline constexpr known_model known_models[] = {
    {"shakespeare (bundled)", shakespeare, open_model<shakespeare>},
    {"goldfinch_0b1", gf::presets::goldfinch_0b1, open_model<gf::presets::goldfinch_0b1>},
    {"goldfinch_0b1_ratio2", gf::presets::goldfinch_0b1_ratio2, open_model<gf::presets::goldfinch_0b1_ratio2>},
    {"goldfinch_0b1_ratio6", gf::presets::goldfinch_0b1_ratio6, open_model<gf::presets::goldfinch_0b1_ratio6>},
    {"goldfinch_0b1_rope", gf::presets::goldfinch_0b1_rope, open_model<gf::presets::goldfinch_0b1_rope>},
    {"goldfinch_1b5", gf::presets::goldfinch_1b5, open_model<gf::presets::goldfinch_1b5>},
    {"goldfinch_1b5_uncompressed", gf::presets::goldfinch_1b5_uncompressed, open_model<gf::presets::goldfinch_1b5_uncompressed>},
};

}  // namespace commands
