// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>
#include <span>

#include "../../../bench/gpu/limits.hpp"
#include "../any_model.hpp"

namespace bench {

/// A model on a GPU.
struct gpu_model {
    gf::config cfg;
    weight_type weights;
    cache_type cache;
    /// A checkpoint, or random weights where the path is empty. Throws goldfinch::cuda_error where there is no GPU.
    std::unique_ptr<any_model> (*open)(std::filesystem::path const& path);
};

/// What this program has for GPUs: gpu.cpp defines it, or without CUDA none.cpp.
struct gpu_support {
    std::span<gpu_model const> models = {};  ///< none without CUDA
    gpu::limits (*measure_limits)() = nullptr;
};
gpu_support on_gpu();

}  // namespace bench
