// SPDX-License-Identifier: Apache-2.0
// A build without CUDA.
#include "gpu.hpp"

bench::gpu_support bench::on_gpu() { return {}; }
