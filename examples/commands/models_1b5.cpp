// SPDX-License-Identifier: Apache-2.0
#include "open_model.hpp"

template commands::any_session commands::open_model<goldfinch::presets::goldfinch_1b5>(std::filesystem::path const&, cache_type, gf::load_options const&);
template commands::any_session commands::open_model<goldfinch::presets::goldfinch_1b5_uncompressed>(std::filesystem::path const&, cache_type, gf::load_options const&);
