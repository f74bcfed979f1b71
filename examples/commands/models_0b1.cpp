// SPDX-License-Identifier: Apache-2.0
#include "open_model.hpp"

template commands::any_session commands::open_model<goldfinch::presets::goldfinch_0b1>(std::filesystem::path const&, cache_type, gf::load_options const&);
template commands::any_session commands::open_model<goldfinch::presets::goldfinch_0b1_rope>(std::filesystem::path const&, cache_type, gf::load_options const&);
