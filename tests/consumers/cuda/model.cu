// SPDX-License-Identifier: Apache-2.0
#include <goldfinch/cuda.cuh>

#include "model.hpp"

template class goldfinch::model<tiny, goldfinch::cuda<goldfinch::bf16>>;
