// SPDX-License-Identifier: Apache-2.0
#include "model_of.hpp"

template struct quantize::model_functions<commands::shakespeare>;
