// SPDX-License-Identifier: Apache-2.0
// What a GPU takes for kernels at the sizes of L24 D2048, beside the least time for their bytes at the rate of a copy and for their FLOPs at that of a matrix
// product, both measured here. torch_products.py times the same work in PyTorch, goldfinch-bench --backend cuda whole models.

#include "kernels.hpp"
#include "limits.hpp"

#include <goldfinch/cuda.hpp>

#include <algorithm>
#include <cstdio>
#include <exception>

int main() try {
    gpu::limits const most = gpu::measure_limits();
    std::printf("copy: %.0f GB/s read and written; ", most.copy * 1e-9);
    if (most.gemm > 0)
        std::printf("bf16 matrix product: %.0f TFLOP/s\n", most.gemm * 1e-12);
    else
        std::printf("no cuBLAS: least times are those of bytes\n");
    std::printf("%-56s %12s %12s %6s %8s %8s\n", "", "time, us", "least, us", "share", "GB/s", "TFLOP/s");
    for (gpu::timing const& t : gpu::time_kernels()) {
        double const least = std::max(t.bytes / most.copy, most.gemm > 0 ? t.flops / most.gemm : 0);
        std::printf("%-56s %12.1f %12.1f %6.2f %8.0f %8.1f\n", t.what.c_str(), t.seconds * 1e6, least * 1e6, least / t.seconds, t.bytes / t.seconds * 1e-9,
                    t.flops / t.seconds * 1e-12);
    }
} catch (goldfinch::cuda_error const& e) {
    std::printf("skipped: kernels on a GPU: %s\n", e.what());
} catch (std::exception const& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
}
