// SPDX-License-Identifier: Apache-2.0
#include "faults.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cuda/emulation.hpp>
#include <numeric>
#include <string>
#include <vector>

// Launches, barriers, shared memory and atomics, and what is found where they are used wrongly.

namespace {

using emulation::buffer;
using emulation::difference_between_orders;
using emulation::launch;
using emulation::shared_memory;

template <class T>
__device__ T* shared() {
    return reinterpret_cast<T*>(shared_memory());
}

std::vector<float> ramp(std::size_t n) {
    std::vector<float> result(n);
    std::iota(result.begin(), result.end(), 1.0f);
    return result;
}

__global__ void write_place(uint3* blocks, uint3* threads) {
    unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    unsigned i = block * blockDim.x * blockDim.y * blockDim.z + thread;
    blocks[i] = blockIdx;
    threads[i] = threadIdx;
}

__global__ void sum_in_shared_memory(float const* in, float* out) {
    float* s = shared<float>();
    unsigned t = threadIdx.x;
    s[t] = in[blockIdx.x * blockDim.x + t];
    __syncthreads();
    for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
        if (t < half) s[t] += s[t + half];
        __syncthreads();
    }
    if (t == 0) out[blockIdx.x] = s[0];
}

template <class T>
__global__ void all_atomics(T* p) {
    T i = static_cast<T>(threadIdx.x);
    atomicAdd(p + 0, i);
    atomicMax(p + 1, i);
    atomicMin(p + 2, i);
    if (atomicCAS(p + 3, T{0}, T{7}) == 0) atomicExch(p + 4, T{9});
}

__global__ void histogram(float* sums, unsigned const* keys) { atomicAdd(&sums[keys[threadIdx.x]], 0.5f); }

__global__ void last_block_sums(float const* in, float* partial, unsigned* finished, float* out) {
    unsigned b = blockIdx.x, t = threadIdx.x;
    bool* last = shared<bool>();
    if (t == 0) {
        partial[b] = in[b];
        __threadfence();
        *last = atomicAdd(finished, 1u) == gridDim.x - 1;
    }
    __syncthreads();
    if (*last && t == 0) {
        float sum = 0;
        for (unsigned i = 0; i < gridDim.x; ++i) sum += partial[i];
        *out = sum;
    }
}

// Planted faults.

__global__ void rotate_without_barrier(float* out) {
    float* s = shared<float>();
    s[threadIdx.x] = static_cast<float>(threadIdx.x);
    out[threadIdx.x] = s[(threadIdx.x + 1) % blockDim.x];
}

__global__ void rotate_again_without_barrier(float* out) {
    float* s = shared<float>();
    float mine = static_cast<float>(threadIdx.x);
    for (int i = 0; i < 3; ++i) {
        s[threadIdx.x] = mine;
        __syncthreads();
        mine = s[(threadIdx.x + 1) % blockDim.x];
    }
    out[threadIdx.x] = mine;
}

/// Warp 1 reads what warp 0 writes after as many warp operations.
__global__ void race_between_warps(float* out) {
    float* s = shared<float>();
    if (threadIdx.x == 0) s[0] = 1;
    __syncthreads();
    __syncwarp();
    if (threadIdx.x == 0) s[0] = 2;
    if (threadIdx.x == 32) out[0] = s[0];
}

__global__ void race_between_blocks(float* out) { *out = static_cast<float>(blockIdx.x); }

__global__ void barrier_in_branch(int) {
    if (threadIdx.x < 40) __syncthreads();
}

__global__ void barrier_in_both_branches(int) {
    if (threadIdx.x < 32) {
        __syncthreads();
    } else {
        __syncthreads();
    }
}

__global__ void sums_unwritten(float* out) {
    float* s = shared<float>();
    if (threadIdx.x != 3) s[threadIdx.x] = 1;
    __syncthreads();
    float sum = 0;
    for (unsigned i = 0; i < blockDim.x; ++i) sum += s[i];
    out[threadIdx.x] = sum;
}

__global__ void counts_unwritten(int* out) { out[threadIdx.x] = shared<int>()[threadIdx.x] != 0; }

__global__ void throws(int) {
    __syncthreads();
    if (threadIdx.x == 1) throw std::string("from a kernel");
    __syncthreads();
}

__device__ void wait_noexcept() noexcept { __syncthreads(); }
__global__ void barrier_in_noexcept(int) noexcept {
    if (threadIdx.x != 0) wait_noexcept();
}

__global__ void launches(int) { launch(throws, 1, 1, 0, nullptr, 0); }

TEST_CASE("every thread of every block runs once, and knows its place") {
    dim3 grid(3, 2, 2), block(5, 4, 3);
    std::size_t threads = 60, n = 12 * threads;
    for (emulation::order o : emulation::orders) {
        emulation::scoped_order scope(o);
        buffer<uint3> block_of(n), thread_of(n);
        CHECK(launch(write_place, grid, block, 0, nullptr, block_of.data(), thread_of.data()) == cudaSuccess);
        auto blocks = block_of.values();
        auto threads_of_block = thread_of.values();
        bool right = true;
        for (unsigned i = 0; i < n; ++i) {
            unsigned b = i / 60, t = i % 60;
            right &= blocks[i].x == b % 3 && blocks[i].y == b / 3 % 2 && blocks[i].z == b / 6;
            right &= threads_of_block[i].x == t % 5 && threads_of_block[i].y == t / 5 % 4 && threads_of_block[i].z == t / 20;
        }
        CHECK(right);
    }
}

TEST_CASE("shared memory and barriers: a reduction") {
    auto in = ramp(4 * 256);
    auto run = [&] {
        buffer<float> from(in), to(4);
        launch(sum_in_shared_memory, 4, 256, 256 * sizeof(float), nullptr, from.data(), to.data());
        return to.values();
    };
    auto sums = run();
    for (std::size_t b = 0; b < 4; ++b) CHECK(sums[b] == 256.0f * static_cast<float>(b) * 256 + 256 * 257 / 2);
    CHECK(difference_between_orders(run) == "");
}

TEST_CASE_TEMPLATE("atomics", T, int, unsigned, unsigned long long) {
    auto run = [] {
        buffer<T> p(std::vector<T>{5, 5, 5, 0, 0});
        launch(all_atomics<T>, 1, 100, 0, nullptr, p.data());
        return p.values();
    };
    CHECK(run() == std::vector<T>{5 + 99 * 100 / 2, 99, 0, 7, 9});
    CHECK(difference_between_orders(run) == "");
}

TEST_CASE("atomics of floats, and a grid whose last block does the rest") {
    std::vector<unsigned> keys(512);
    for (unsigned i = 0; i < 512; ++i) keys[i] = i * i % 3;
    std::vector<float> expected(3);
    for (unsigned key : keys) expected[key] += 0.5f;
    buffer<float> sums(std::vector<float>(3));
    buffer<unsigned> from(keys);
    launch(histogram, 1, 512, 0, nullptr, sums.data(), from.data());
    CHECK(sums.values() == expected);

    auto in = ramp(50);
    auto run = [&] {
        buffer<float> values(in), partial(50), out(1);
        buffer<unsigned> finished(std::vector<unsigned>(1));
        launch(last_block_sums, 50, 64, 1, nullptr, values.data(), partial.data(), finished.data(), out.data());
        return out.values();
    };
    CHECK(run() == std::vector<float>{1275});
    CHECK(difference_between_orders(run) == "");
}

TEST_CASE("numbers of the mathematics of the device") {
    CHECK(__expf(1.5f) == doctest::Approx(std::exp(1.5)));
    CHECK(__logf(1.5f) == doctest::Approx(std::log(1.5)));
    CHECK(rsqrtf(4.0f) == 0.5f);
    CHECK(__fdividef(3.0f, 2.0f) == 1.5f);
    CHECK(__dp4a(static_cast<int>(0xff028003u), 0x05060708, 10) == 10 - 5 + 12 - 128 * 7 + 24);
    CHECK(__dp4a(0xff028003u, 0x05060708u, 10u) == 10u + 255 * 5 + 12 + 128 * 7 + 24);
    CHECK(__float_as_uint(1.0f) == 0x3f800000u);
    static_assert(alignof(float4) == 16 && sizeof(float4) == 16 && alignof(uint2) == 8 && alignof(float3) == 4);
    CHECK(make_float4(1, 2, 3, 4).w == 4);
}

TEST_CASE("a race shows as results that depend on the order") {
    auto differs = [](auto kernel, unsigned blocks, unsigned threads, std::size_t results) {
        return difference_between_orders([&] {
            buffer<float> out(results);
            launch(kernel, blocks, threads, threads * sizeof(float), nullptr, out.data());
            return out.values();
        });
    };
    CHECK(contains(differs(rotate_without_barrier, 1, 64, 64), "ascending and descending"));
    CHECK(contains(differs(rotate_again_without_barrier, 1, 64, 64), "ascending and"));
    CHECK(contains(differs(race_between_warps, 1, 64, 1), "element 0 is 2.000000 and 1.000000 in ascending and descending"));
    CHECK(contains(differs(race_between_blocks, 8, 1, 1), "element 0 is 7.000000 and 0.000000 in ascending and descending"));
}

TEST_CASE("a divergent barrier is reported with kernel, block and thread") {
    for (emulation::order o : emulation::orders) {
        emulation::scoped_order scope(o);
        std::string text = fault_of([] { launch(barrier_in_branch, 2, 64, 0, nullptr, 0); });
        INFO(text);
        CHECK(contains(text, "barrier_in_branch"));
        CHECK(contains(text, "divergent barrier: thread (39, 0, 0) is at __syncthreads"));
        CHECK(contains(text, "test_blocks.cpp:"));
        CHECK(contains(text, "which thread (63, 0, 0) never reached: it has returned"));
        CHECK((contains(text, "block (0, 0, 0)") || contains(text, "block (1, 0, 0)")));
    }
    CHECK(contains(fault_of([] { launch(barrier_in_both_branches, 1, 64, 0, nullptr, 0); }), "while others wait at __syncthreads"));
    CHECK(contains(fault_of([] { launch(barrier_in_noexcept, 1, 64, 0, nullptr, 0); }), "divergent barrier"));
    CHECK(contains(fault_of([] { __syncthreads(); }), "__syncthreads outside of a kernel"));
    CHECK(contains(fault_of([] { launch(launches, 1, 1, 0, nullptr, 0); }), "a launch from a kernel"));
}

TEST_CASE("shared memory that nobody wrote is NaN, and differs between orders") {
    emulation::scoped_order ascending(emulation::order{});
    auto run = [] {
        buffer<float> out(64);
        launch(sums_unwritten, 1, 64, 64 * sizeof(float), nullptr, out.data());
        return out.values();
    };
    for (float x : run()) CHECK(std::isnan(x));
    CHECK(difference_between_orders(run) != "");
    // Also for each block anew, and where the bytes are no NaN.
    CHECK(contains(difference_between_orders([] {
                       buffer<int> out(64);
                       launch(counts_unwritten, 1, 64, 64 * sizeof(int), nullptr, out.data());
                       auto flags = out.values();
                       CHECK(std::count(flags.begin(), flags.end(), 1) == 64);
                       buffer<float> fresh(1);
                       return fresh.values();
                   }),
                   "random:2"));
}

TEST_CASE("after a fault the next launch is as the first") {
    CHECK_THROWS_WITH_AS(launch(throws, 1, 64, 0, nullptr, 0), "from a kernel", std::string);
    auto in = ramp(256);
    for (int i = 0; i < 3; ++i) {
        CHECK_THROWS_AS(launch(barrier_in_branch, 1, 256, 0, nullptr, 0), emulation::fault);
        buffer<float> from(in), to(1);
        launch(sum_in_shared_memory, 1, 256, 256 * sizeof(float), nullptr, from.data(), to.data());
        CHECK(to.values()[0] == 256 * 257 / 2);
    }
}

TEST_CASE("what CUDA refuses is its last error") {
    buffer<float> out(1);
    CHECK(launch(race_between_blocks, 0, 1, 0, nullptr, out.data()) == cudaErrorInvalidConfiguration);
    CHECK(cudaGetLastError() == cudaErrorInvalidConfiguration);
    CHECK(cudaGetLastError() == cudaSuccess);
    CHECK(launch(race_between_blocks, 1, 1025, 0, nullptr, out.data()) == cudaErrorInvalidConfiguration);
    CHECK(launch(race_between_blocks, 1, dim3(32, 64), 0, nullptr, out.data()) == cudaErrorInvalidConfiguration);
    CHECK(launch(race_between_blocks, dim3(1, 65536), 1, 0, nullptr, out.data()) == cudaErrorInvalidConfiguration);
    CHECK(launch(race_between_blocks, 1, 1, (48 << 10) + 1, nullptr, out.data()) == cudaErrorInvalidValue);
    CHECK(cudaFuncSetAttribute(race_between_blocks, cudaFuncAttributeMaxDynamicSharedMemorySize, 100 << 10) == cudaSuccess);
    CHECK(launch(race_between_blocks, 1, 1, 100 << 10, nullptr, out.data()) == cudaSuccess);
    CHECK(cudaFuncSetAttribute(race_between_blocks, cudaFuncAttributeMaxDynamicSharedMemorySize, 300 << 10) == cudaErrorInvalidValue);
    cudaGetLastError();
}

}  // namespace
