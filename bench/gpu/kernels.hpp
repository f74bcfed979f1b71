// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

/// What the GPU does at best, measured: bytes a second that a copy reads and writes, and FLOP/s of cuBLAS on a bf16 product of 8192^3 (0: without cuBLAS).
struct limits {
    double copy = 0, gemm = 0;
};

/// Some work, how long it took, and the bytes and FLOPs that it cannot do without.
struct timing {
    std::string what;
    double seconds = 0, bytes = 0, flops = 0;
};

/// Both throw goldfinch::cuda_error where there is no GPU.
limits measure_limits();
/// Kernels at the sizes of L24 D2048: medians of CUDA events. What they read is in turn one of several places, together larger than an L2.
std::vector<timing> time_kernels();
