// SPDX-License-Identifier: Apache-2.0
#include "limits.hpp"

#include "timer.cuh"

#include <cstddef>
#include <stdexcept>
#include <string>

#if defined(GOLDFINCH_BENCH_CUBLAS)
#include <cublas_v2.h>
#endif

namespace gpu {

namespace {

double copy_rate(gf::cuda_executor const& at) {
    constexpr std::size_t bytes = std::size_t{1} << 30;
    gf::cuda_buffer<std::byte> from(bytes), to(bytes);
    return 2 * bytes / seconds(at, [&](std::size_t) { gf::detail::cuda_driver<>::copy(to.data(), from.data(), bytes); });
}

double gemm_rate([[maybe_unused]] gf::cuda_executor const& at) {
#if defined(GOLDFINCH_BENCH_CUBLAS)
    constexpr int n = 8192;
    constexpr std::size_t size = std::size_t{n} * n;
    auto const check = [](cublasStatus_t status, char const* call) {
        if (status != CUBLAS_STATUS_SUCCESS) throw std::runtime_error(std::string(call) + ": " + cublasGetStatusString(status));
    };
    auto const a = filled<gf::bf16>(size), b = filled<gf::bf16>(size);
    gf::cuda_buffer<gf::bf16> c(size);
    cublasHandle_t handle = nullptr;
    check(cublasCreate(&handle), "cublasCreate");
    check(cublasSetStream(handle, device::as_stream(at.recorder->stream)), "cublasSetStream");
    float const one = 1, zero = 0;
    double const time = seconds(at, [&](std::size_t) {
        check(cublasGemmEx(handle, CUBLAS_OP_T, CUBLAS_OP_N, n, n, n, &one, a.data(), CUDA_R_16BF, n, b.data(), CUDA_R_16BF, n, &zero, c.data(), CUDA_R_16BF, n,
                           CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
              "cublasGemmEx");
    });
    check(cublasDestroy(handle), "cublasDestroy");
    return 2.0 * n * n * n / time;
#else
    return 0;
#endif
}

}  // namespace

limits measure_limits() {
    gf::cuda_runtime runtime(1);
    gf::cuda_runtime::lease const lease(runtime);
    cudaDeviceProp properties{};
    device::check(cudaGetDeviceProperties(&properties, runtime.device()), "cudaGetDeviceProperties");
    std::string const architecture = "sm_" + std::to_string(properties.major) + std::to_string(properties.minor);
    return {properties.name, architecture, copy_rate(lease.executor()), gemm_rate(lease.executor())};
}

}  // namespace gpu
