// SPDX-License-Identifier: Apache-2.0
#include <goldfinch/cuda.cuh>

#include "models.hpp"

#define BENCH_MODEL(C, Weight, Cache) template class goldfinch::model<bench::C, goldfinch::cuda<goldfinch::Weight>, bench::Cache>;
BENCH_MODELS
