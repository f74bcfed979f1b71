// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <cuda/emulation.hpp>
#include <string_view>
#include <vector>

// A program of faults that AddressSanitizer and UndefinedBehaviorSanitizer must find: the first argument says which. The last one is none.

namespace {

using emulation::buffer;
using emulation::launch;
using emulation::shared_memory;

__global__ void stores_beyond_shared_memory(unsigned n) {
    float* s = reinterpret_cast<float*>(shared_memory());
    __syncthreads();
    if (threadIdx.x == 40) s[n] = 1;
    __syncthreads();
}

__global__ void stores_beyond_device_memory(float* p, unsigned n) {
    __syncthreads();
    if (threadIdx.x == 40) p[n] = 1;
}

__global__ void loads_before_device_memory(float const* p, float* out, int i) { out[threadIdx.x] = p[i]; }

__device__ void store_one(float* p) { *p = 1; }

__global__ void stores_beyond_local_array(float* out, unsigned n) {
    float local[8] = {};
    __syncthreads();
    store_one(local + n);
    __syncthreads();
    for (unsigned i = 0; i < 8; ++i) out[threadIdx.x] += local[i];
}

__global__ void loads_misaligned(float const* p, float* out) { out[threadIdx.x] = reinterpret_cast<float4 const*>(p + 1)->x; }

__global__ void loads_fragment_of_freed(unsigned* out, unsigned const* freed) { out[threadIdx.x] = freed[threadIdx.x]; }

/// Many frames deep, across barriers and warp operations.
__device__ float descend(float* s, unsigned depth) {
    float local[16];
    for (unsigned i = 0; i < 16; ++i) local[i] = static_cast<float>(i);
    __syncthreads();
    float below = depth == 0 ? s[threadIdx.x] : descend(s, depth - 1);
    return __shfl_xor_sync(0xffffffffu, below + local[depth % 16], 1);
}

__global__ void none(float* out) {
    float* s = reinterpret_cast<float*>(shared_memory());
    s[threadIdx.x] = 1;
    out[threadIdx.x] = descend(s, 12);
}

__global__ void barrier_in_branch(int) {
    if (threadIdx.x % 2 == 0) __syncthreads();
}

}  // namespace

int main(int argc, char** argv) {
    std::string_view fault = argc > 1 ? argv[1] : "";
    buffer<float> p(std::vector<float>(100));
    if (fault == "shared_store") {
        launch(stores_beyond_shared_memory, 1, 64, 100 * sizeof(float), nullptr, 100u);
    } else if (fault == "device_store") {
        launch(stores_beyond_device_memory, 1, 64, 0, nullptr, p.data(), 100u);
    } else if (fault == "device_load") {
        launch(loads_before_device_memory, 1, 32, 0, nullptr, p.data(), p.data(), -1);
    } else if (fault == "local_store") {
        launch(stores_beyond_local_array, 1, 64, 0, nullptr, p.data(), 8u);
    } else if (fault == "misaligned_load") {
        launch(loads_misaligned, 1, 32, 0, nullptr, p.data(), p.data());
    } else if (fault == "freed_load") {
        unsigned* freed = nullptr;
        cudaMalloc(&freed, 400);
        cudaFree(freed);
        launch(loads_fragment_of_freed, 1, 32, 0, nullptr, reinterpret_cast<unsigned*>(p.data()), freed);
    } else if (fault == "host_load") {
        if (emulation::device::get().guard_from_host(true)) std::printf("%g", static_cast<double>(p.data()[50]));
    } else if (fault == "none") {
        emulation::device::get().guard_from_host(true);
        for (emulation::order o : emulation::orders) {
            emulation::scoped_order scope(o);
            launch(none, 3, 96, 96 * sizeof(float), nullptr, p.data());
            try {
                launch(barrier_in_branch, 1, 64, 0, nullptr, 0);
            } catch (emulation::fault const&) {
                std::puts("reported");
            }
            launch(none, 3, 96, 96 * sizeof(float), nullptr, p.data());
        }
        buffer<float> other(100);
        cudaMemcpy(other.data(), p.data(), 400, cudaMemcpyDeviceToDevice);
        cudaMemset(p.data(), 0, 400);
        float sum = p.values()[99] + other.values()[0];
        emulation::device::get().guard_from_host(false);
        std::printf("no fault %g\n", static_cast<double>(sum + p.data()[0] + other.data()[5]));
    }
}
