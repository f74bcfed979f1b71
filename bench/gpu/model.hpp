// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <goldfinch/cuda.hpp>

inline constexpr goldfinch::config shape = goldfinch::presets::goldfinch_1b5;
using expanded = goldfinch::model<shape, goldfinch::cuda<goldfinch::bf16>, goldfinch::expanded_kv<goldfinch::bf16>>;
using compressed = goldfinch::model<shape, goldfinch::cuda<goldfinch::bf16>>;

extern template class goldfinch::model<shape, goldfinch::cuda<goldfinch::bf16>, goldfinch::expanded_kv<goldfinch::bf16>>;
extern template class goldfinch::model<shape, goldfinch::cuda<goldfinch::bf16>>;
