// SPDX-License-Identifier: Apache-2.0
// All that needs kernels, for nvcc. Nothing else may stand here.
#include <goldfinch/cuda.cuh>

#include "shakespeare.hpp"

template class goldfinch::model<shakespeare_config, goldfinch::cuda<goldfinch::bf16>>;
