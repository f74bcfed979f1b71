// SPDX-License-Identifier: Apache-2.0
#include "costs_of.hpp"

template bench::model_costs bench::costs_of<commands::shakespeare>(weight_type, cache_type);
