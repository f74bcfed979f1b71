// SPDX-License-Identifier: Apache-2.0
#include "quantized_test.hpp"

#define COMPILED_HERE(C, ...) template class goldfinch::model<C, goldfinch::reference, goldfinch::compressed_keys<float> __VA_OPT__(, ) __VA_ARGS__>;
EACH_ORACLE(COMPILED_HERE)
