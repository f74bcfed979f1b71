// SPDX-License-Identifier: Apache-2.0
#include "open_model.hpp"

template std::unique_ptr<bench::any_model> bench::open_model<goldfinch::presets::goldfinch_1b5>(std::filesystem::path const&, weight_type,
                                                                                                cache_type);
