// SPDX-License-Identifier: Apache-2.0
#include <goldfinch/cuda.cuh>

#include "models.hpp"

#define GPU_MODEL(C, Weight, ...) template class goldfinch::model<C, goldfinch::cuda<Weight>, __VA_ARGS__>;
GPU_MODELS
