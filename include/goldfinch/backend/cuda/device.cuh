// SPDX-License-Identifier: Apache-2.0
#pragma once

// All that kernels use of CUDA beyond the language: under nvcc the runtime and PTX, and where GOLDFINCH_CUDA_EMULATION is defined the same on
// the CPU (cuda/emulation.hpp, of the tests).

#include <cstddef>
#include <type_traits>
#include <utility>

#if defined(GOLDFINCH_CUDA_EMULATION)
#include <cuda/emulation.hpp>
#else
#if !defined(__CUDACC_EXTENDED_LAMBDA__) || !defined(__CUDACC_RELAXED_CONSTEXPR__)
#error "goldfinch: <goldfinch/cuda.cuh> is compiled by nvcc with --extended-lambda --expt-relaxed-constexpr (goldfinch_cuda() in CMake does so)"
#endif
#include <cuda_runtime.h>
#endif

#include <goldfinch/backend/cuda/driver.hpp>
#include <goldfinch/backend/cuda/memory.hpp>
#include <goldfinch/backend/cuda/recorder.hpp>
#include <goldfinch/message.hpp>
#include <goldfinch/numeric.hpp>

// Before a loop of the device: unrolled completely, or so many times.
#if defined(GOLDFINCH_CUDA_EMULATION)
#define GOLDFINCH_DEVICE_UNROLL
#define GOLDFINCH_DEVICE_UNROLL_BY(n)
#else
#define GOLDFINCH_DEVICE_UNROLL _Pragma("unroll")
#define GOLDFINCH_DEVICE_UNROLL_BY(n) _Pragma(GOLDFINCH_TEXT(unroll n))
#endif

namespace goldfinch::detail::device {

inline constexpr unsigned warp = 32, all_lanes = 0xffffffffu;
/// Bytes of shared memory that a block can have on every GPU from sm_80 on.
inline constexpr std::size_t most_shared = 99 * 1024;

/// Throws cuda_error where a call of the runtime failed.
GOLDFINCH_COLD inline void fail(cudaError_t error, char const* call, int device) {
    cudaGetLastError();  // forgets it, unless the device is lost
    cudaDeviceProp properties{};
    bool const named = device >= 0 && cudaGetDeviceProperties(&properties, device) == cudaSuccess;
    std::string const where = device < 0 ? "" : named ? message({" on device ", device, " (", static_cast<char const*>(properties.name), ")"}) : message({" on device ", device});
    throw cuda_error(message({"goldfinch: ", call, where, ": ", cudaGetErrorString(error), " (", cudaGetErrorName(error), ")"}));
}
inline int current() {
    int device = -1;
    return cudaGetDevice(&device) == cudaSuccess ? device : -1;
}
inline void check(cudaError_t error, char const* call) {
    if (error != cudaSuccess) fail(error, call, current());
}

inline cudaStream_t as_stream(void* stream) { return static_cast<cudaStream_t>(stream); }

inline cuda_extents extents(dim3 size) { return {size.x, size.y, size.z}; }

/// Runs a kernel on a grid of blocks with `shared` bytes of shared memory, after what was launched before. A grid without blocks is no work.
template <class... Parameters>
void launch(cuda_recorder& recorder, void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared, std::type_identity_t<Parameters>... arguments) {
    if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
    auto const address = reinterpret_cast<void const*>(kernel);
#if defined(GOLDFINCH_CUDA_EMULATION)
    emulation::register_kernel(kernel);
#endif
    if (shared > 48 * 1024) {
        // The limit is the kernel's, and holds for launches that are recorded and not yet launched, too: the same for all.
        int const limit = static_cast<int>(shared > most_shared ? shared : most_shared);
        check(cudaFuncSetAttribute(address, cudaFuncAttributeMaxDynamicSharedMemorySize, limit), "cudaFuncSetAttribute");
    }
    recorder.launch(address, extents(grid), extents(block), shared, arguments...);
}
template <class... Parameters>
void launch(cuda_executor const& at, void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared, std::type_identity_t<Parameters>... arguments) {
    launch(*at.recorder, kernel, grid, block, shared, arguments...);
}

#if defined(GOLDFINCH_CUDA_EMULATION)
using emulation::cp_async_16, emulation::cp_async_commit, emulation::cp_async_wait, emulation::ldmatrix_x4, emulation::ldmatrix_x4_trans;
inline std::byte* shared_bytes() { return emulation::shared_memory(); }
inline void mma_m16n8k16(float (&d)[4], unsigned const (&a)[4], unsigned const (&b)[2]) { emulation::mma_m16n8k16_bf16(d, a, b); }
inline unsigned bf16_pair(float a, float b) { return bf16(a).bits | static_cast<unsigned>(bf16(b).bits) << 16; }
#else
/// The block's shared memory.
__device__ inline std::byte* shared_bytes() {
    extern __shared__ __align__(128) unsigned char goldfinch_shared[];
    return reinterpret_cast<std::byte*>(goldfinch_shared);
}
__device__ inline unsigned shared_address(void const* p) { return static_cast<unsigned>(__cvta_generic_to_shared(p)); }

/// Begins to copy 16 bytes to shared memory, both aligned to 16, or sets them to zero. A thread sees its own copies after cp_async_wait<n>(), which leaves the
/// last n groups that it has committed.
__device__ inline void cp_async_16(void* shared, void const* global, bool valid = true) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(__cvta_generic_to_global(global)), "r"(valid ? 16 : 0) : "memory");
}
__device__ inline void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int n>
__device__ inline void cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory");
}

/// Four 8 by 8 matrices of 16 bits: lane 8 i + j has the address of row j of the i-th in shared memory, and gets elements 2 (lane % 4) and the next of row lane / 4 of each.
__device__ inline void ldmatrix_x4(unsigned (&r)[4], void const* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
}
/// The same, each matrix transposed.
__device__ inline void ldmatrix_x4_trans(unsigned (&r)[4], void const* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}
/// d += a b for a [16, 16] and b [16, 8] of bf16, as PTX lays them out over the lanes of a warp.
__device__ inline void mma_m16n8k16(float (&d)[4], unsigned const (&a)[4], unsigned const (&b)[2]) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/// Two numbers rounded to bf16, in a word: a in its lower half.
__device__ inline unsigned bf16_pair(float a, float b) {
    unsigned pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(b), "f"(a));
    return pair;
}
#endif
template <class T>
__device__ inline T* shared_memory(std::size_t bytes_before = 0) {
    return reinterpret_cast<T*>(shared_bytes() + bytes_before);
}

/// The sum of x over groups of Lanes neighbouring lanes of a warp, in each of them.
template <unsigned Lanes = warp>
__device__ inline float sum_of_lanes(float x) {
    for (unsigned step = Lanes / 2; step > 0; step /= 2) x += __shfl_xor_sync(all_lanes, x, static_cast<int>(step));
    return x;
}
template <unsigned Lanes = warp>
__device__ inline float largest_of_lanes(float x) {
    for (unsigned step = Lanes / 2; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(all_lanes, x, static_cast<int>(step)));
    return x;
}

/// The same over a block of whole warps, in every thread; `shared` holds a float a warp. Ends with the block in step.
__device__ inline float sum_of_block(float x, float* shared) {
    x = sum_of_lanes(x);
    if (threadIdx.x % warp == 0) shared[threadIdx.x / warp] = x;
    __syncthreads();
    x = 0;
    for (unsigned i = 0; i < blockDim.x / warp; ++i) x += shared[i];
    __syncthreads();
    return x;
}
__device__ inline float largest_of_block(float x, float* shared) {
    x = largest_of_lanes(x);
    if (threadIdx.x % warp == 0) shared[threadIdx.x / warp] = x;
    __syncthreads();
    x = shared[0];
    for (unsigned i = 1; i < blockDim.x / warp; ++i) x = fmaxf(x, shared[i]);
    __syncthreads();
    return x;
}

constexpr unsigned smaller(unsigned a, unsigned b) { return a < b ? a : b; }
constexpr unsigned divide_up(std::size_t n, std::size_t by) { return static_cast<unsigned>((n + by - 1) / by); }
/// Whole warps for n elements, at most so many threads.
constexpr unsigned threads_for(std::size_t n, unsigned most = 256) {
    unsigned const threads = divide_up(n, warp) * warp;
    return threads < most ? threads : most;
}

}  // namespace goldfinch::detail::device
