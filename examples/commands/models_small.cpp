// SPDX-License-Identifier: Apache-2.0
#include "open_model.hpp"
#include "shakespeare.hpp"

template commands::any_session commands::open_model<commands::shakespeare>(std::filesystem::path const&, cache_type, gf::load_options const&);
