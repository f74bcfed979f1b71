// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace gpu {

/// What a GPU does at best, measured.
struct limits {
    std::string name, architecture;  ///< such as NVIDIA H100 80GB HBM3, sm_90
    double copy = 0;                 ///< bytes a second that a copy reads and writes
    double gemm = 0;                 ///< FLOP/s of cuBLAS on a bf16 product of 8192^3; 0: without cuBLAS
};

/// Of the current device. Throws goldfinch::cuda_error where there is no GPU.
limits measure_limits();

}  // namespace gpu
