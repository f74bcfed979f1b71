// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace gpu {

/// Some work, how long it took, and the bytes and FLOPs that it cannot do without.
struct timing {
    std::string what;
    double seconds = 0, bytes = 0, flops = 0;
};

/// Kernels at the sizes of L24 D2048: medians of CUDA events. What they read is in turn one of several places, together larger than an L2. Throws
/// goldfinch::cuda_error where there is no GPU.
std::vector<timing> time_kernels();

}  // namespace gpu
