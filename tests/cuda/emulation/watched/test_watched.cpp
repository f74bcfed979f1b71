// SPDX-License-Identifier: Apache-2.0
#include "../faults.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cuda/emulation.hpp>
#include <string>
#include <vector>

// Kernels whose every access to shared memory is watched: faults that the order of threads may hide are reported in any order, at the first access.

namespace watched_kernels {

/// Not in a namespace without a name, since reports know the names of what the program exports.
__global__ void writes_too_early(float* out) {
    float* s = reinterpret_cast<float*>(emulation::shared_memory());
    s[threadIdx.x] = 1;
    __syncthreads();
    out[threadIdx.x] = s[0];
    if (threadIdx.x == 63) s[0] = 2;
}

}  // namespace watched_kernels

namespace {

using emulation::buffer;
using emulation::launch;
using watched_kernels::writes_too_early;

template <class T>
__device__ T* shared() {
    return reinterpret_cast<T*>(emulation::shared_memory());
}

// Correct kernels.

__global__ void rotates(float* out) {
    float* s = shared<float>();
    for (int i = 0; i < 3; ++i) {
        s[threadIdx.x] = static_cast<float>(i);
        __syncthreads();
        out[threadIdx.x] += s[(threadIdx.x + 40) % 64];
        __syncthreads();
    }
}

__global__ void exchanges_in_warps(float* out) {
    float* s = shared<float>() + threadIdx.x / 32 * 32;
    unsigned lane = threadIdx.x % 32;
    for (int i = 0; i < 3; ++i) {
        s[lane] = static_cast<float>(i);
        __syncwarp();
        out[threadIdx.x] += s[lane ^ 5];
        __syncwarp();
    }
    s[lane] += s[lane];
}

__global__ void counts(float* out) {
    unsigned* s = shared<unsigned>();
    if (threadIdx.x < 4) s[threadIdx.x] = 0;
    __syncthreads();
    atomicAdd(&s[threadIdx.x % 4], 1u);
    atomicMax(&s[0], 1u);
    __syncthreads();
    out[threadIdx.x] = static_cast<float>(s[threadIdx.x % 4]);
}

__global__ void adds_in_turn(float* out) {
    unsigned* s = shared<unsigned>();
    if (threadIdx.x == 0) s[0] = 0;
    __syncwarp();
    if (threadIdx.x == 5) atomicAdd(s, 1u);
    __syncwarp();
    if (threadIdx.x == 6) atomicAdd(s, 1u);
    if (threadIdx.x == 6) out[0] = static_cast<float>(s[0]);
}

__global__ void multiplies(float* out) {
    auto* s = shared<unsigned short>();
    for (unsigned i = threadIdx.x; i < 128; i += 32) s[i] = 0x3f80;
    if (threadIdx.x < 16) emulation::cp_async_16(s + 128 + threadIdx.x * 8, out);
    emulation::cp_async_commit();
    emulation::cp_async_wait<0>();
    __syncwarp();
    unsigned a[4], b[2] = {0x3f803f80, 0x3f803f80};
    emulation::ldmatrix_x4(a, s + threadIdx.x * 8);
    float d[4] = {};
    emulation::mma_m16n8k16_bf16(d, a, b);
    out[threadIdx.x] = d[0];
}

// Faults.

__global__ void reads_too_early(float* out) {
    float* s = shared<float>();
    s[threadIdx.x] = 1;
    s[64 + threadIdx.x] = 1;
    __syncthreads();
    s[threadIdx.x] = 2;
    out[threadIdx.x] = s[threadIdx.x ^ 32];
}

__global__ void all_write_the_same(float*) { shared<float>()[0] = 1; }

__global__ void shuffle_is_no_barrier(float* out) {
    float* s = shared<float>() + threadIdx.x / 32 * 32;
    unsigned lane = threadIdx.x % 32;
    s[lane] = 1;
    out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1.0f, 1);
    out[threadIdx.x] += s[lane ^ 1];
}

__global__ void warp_barrier_is_not_enough(float* out) {
    float* s = shared<float>();
    s[threadIdx.x] = 1;
    __syncwarp();
    out[threadIdx.x] = s[threadIdx.x ^ 32];
}

__global__ void reads_unwritten(float* out) {
    float* s = shared<float>();
    if (threadIdx.x != 9) s[threadIdx.x] = 1;
    __syncthreads();
    float unused = s[threadIdx.x ^ 1];
    out[threadIdx.x] = unused > 5 ? 1.0f : 0.0f;
}

__global__ void adds_to_unwritten(float*) { atomicAdd(shared<unsigned>(), 1u); }

__global__ void atomic_and_plain(float* out) {
    unsigned* s = shared<unsigned>();
    if (threadIdx.x == 0) s[0] = 0;
    __syncthreads();
    atomicAdd(s, 1u);
    if (threadIdx.x == 1) out[0] = static_cast<float>(s[0]);
}

__global__ void reads_copy_before_wait(float* out) {
    float* s = shared<float>();
    s[threadIdx.x * 4] = 1;
    emulation::cp_async_16(s + threadIdx.x * 4, out);
    emulation::cp_async_commit();
    if (s[threadIdx.x * 4] > 7) out[threadIdx.x] = 1;
    emulation::cp_async_wait<0>();
}

__global__ void reads_copy_of_another(float* out) {
    float* s = shared<float>();
    emulation::cp_async_16(s + threadIdx.x * 4, out);
    emulation::cp_async_commit();
    emulation::cp_async_wait<0>();
    out[threadIdx.x + 64] = s[(threadIdx.x ^ 1) * 4];
}

__global__ void loads_fragment_too_early(float* out) {
    auto* s = shared<unsigned short>();
    for (unsigned i = threadIdx.x; i < 256; i += 32) s[i] = 0;
    unsigned r[4];
    emulation::ldmatrix_x4(r, s + threadIdx.x * 8);
    out[threadIdx.x] = static_cast<float>(r[0]);
}

std::string fault_of(void (*kernel)(float*), unsigned threads = 64) {
    buffer<float> out(std::vector<float>(256));
    return ::fault_of([&] { launch(kernel, 2, threads, 1024, nullptr, out.data()); });
}

TEST_CASE("correct kernels are not reported") {
    for (emulation::order o : emulation::orders) {
        emulation::scoped_order scope(o);
        CHECK(fault_of(rotates) == "no fault");
        CHECK(fault_of(exchanges_in_warps) == "no fault");
        CHECK(fault_of(counts) == "no fault");
        CHECK(fault_of(adds_in_turn, 32) == "no fault");
        CHECK(fault_of(multiplies, 32) == "no fault");
    }
}

TEST_CASE("races in shared memory are reported in every order") {
    for (emulation::order o : emulation::orders) {
        emulation::scoped_order scope(o);
        CHECK(contains(fault_of(reads_too_early), " without a barrier between"));
        CHECK(contains(fault_of(writes_too_early), " without a barrier between"));
        CHECK(contains(fault_of(all_write_the_same), " without a barrier between"));
        CHECK(contains(fault_of(atomic_and_plain), " without a barrier between"));
        // The first access in some orders reads what the other thread has yet to write.
        for (auto kernel : {shuffle_is_no_barrier, warp_barrier_is_not_enough, reads_copy_of_another, loads_fragment_too_early}) {
            std::string text = fault_of(kernel, kernel == loads_fragment_too_early ? 32 : 64);
            INFO(text);
            CHECK((contains(text, " without a barrier between") || contains(text, "reads what nobody has written")));
        }
    }
    std::string text = fault_of(writes_too_early);
    INFO(text);
    CHECK(
        contains(text, "writes_too_early(float*), block (0, 0, 0): thread (63, 0, 0) writes what thread (0, 0, 0) reads without a barrier between"));
    CHECK(contains(text, "near byte 0 of shared memory"));
    CHECK(contains(fault_of(reads_too_early), "thread (32, 0, 0) writes what thread (0, 0, 0) reads"));
    CHECK(contains(fault_of(all_write_the_same), "thread (1, 0, 0) writes what thread (0, 0, 0) writes"));
}

TEST_CASE("shuffles order memory only where a test says so") {
    for (emulation::order o : emulation::orders) {
        emulation::scoped_order scope(o);
        CHECK(fault_of(shuffle_is_no_barrier) != "no fault");
        emulation::take_shuffles_for_barriers(true);
        CHECK(fault_of(shuffle_is_no_barrier) == "no fault");
        CHECK(fault_of(warp_barrier_is_not_enough) != "no fault");
        emulation::take_shuffles_for_barriers(false);
    }
}

TEST_CASE("reads of shared memory that nobody has written are reported, also where the result hides them") {
    for (emulation::order o : emulation::orders) {
        emulation::scoped_order scope(o);
        CHECK(contains(fault_of(reads_unwritten), "thread (8, 0, 0) reads what nobody has written (near byte 36 of shared memory"));
        CHECK(contains(fault_of(adds_to_unwritten), "reads what nobody has written"));
        CHECK(contains(fault_of(reads_copy_before_wait), "reads what nobody has written"));
    }
}

}  // namespace
