// SPDX-License-Identifier: Apache-2.0
#pragma once

// The CUDA backend's kernels: for the source files that nvcc compiles, which hold `template class goldfinch::model<...>` and nothing else.

#include <goldfinch/cuda.hpp>

#include <goldfinch/backend/cuda/attention.cuh>
#include <goldfinch/backend/cuda/driver.cuh>
#include <goldfinch/backend/cuda/elementwise.cuh>
#include <goldfinch/backend/cuda/functions.cuh>
#include <goldfinch/backend/cuda/linear.cuh>
#include <goldfinch/backend/cuda/lora.cuh>
#include <goldfinch/backend/cuda/norm.cuh>
#include <goldfinch/backend/cuda/pack.cuh>
#include <goldfinch/backend/cuda/token_shift.cuh>
#include <goldfinch/backend/cuda/wkv6.cuh>
