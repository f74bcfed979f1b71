// SPDX-License-Identifier: Apache-2.0
#include "model_of.hpp"

template struct quantize::model_functions<goldfinch::presets::goldfinch_0b1_ratio2>;
template struct quantize::model_functions<goldfinch::presets::goldfinch_0b1_ratio6>;
