// SPDX-License-Identifier: Apache-2.0
#include "gpu.hpp"

#include "../model_of.hpp"
#include "models.hpp"

bench::gpu_support bench::on_gpu() {
#define BENCH_MODEL(C, Weight, Cache) {C, weight_type::Weight, cache_type::Cache, open<gf::model<C, gf::cuda<gf::Weight>, Cache>>},
    static constexpr gpu_model models[] = {BENCH_MODELS};
#undef BENCH_MODEL
    return {models, gpu::measure_limits};
}
