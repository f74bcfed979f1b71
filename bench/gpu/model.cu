// SPDX-License-Identifier: Apache-2.0
#include <goldfinch/cuda.cuh>

#include "model.hpp"

template class goldfinch::model<shape, goldfinch::cuda<goldfinch::bf16>, goldfinch::expanded_kv<goldfinch::bf16>>;
template class goldfinch::model<shape, goldfinch::cuda<goldfinch::bf16>>;
