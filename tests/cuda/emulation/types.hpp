// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <math.h>
#include <algorithm>
#include <atomic>
#include <bit>
#include <cfloat>
#include <climits>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

// The words and types that nvcc knows without an include. __shared__ is not among them: shared memory is emulation::shared_memory().
// Nor is __noinline__, which libstdc++ uses as the name of an attribute.

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) alignas(n)

// Vector types are aligned as on the device, so that UBSan reports the addresses that a GPU refuses.
#define EMULATION_VECTOR(name, type)                                            \
    struct alignas(2 * sizeof(type)) name##2 {                                  \
        type x, y;                                                              \
    };                                                                          \
    struct name##3 {                                                            \
        type x, y, z;                                                           \
    };                                                                          \
    struct alignas(4 * sizeof(type)) name##4 {                                  \
        type x, y, z, w;                                                        \
    };                                                                          \
    inline name##2 make_##name##2(type x, type y) { return {x, y}; }            \
    inline name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; } \
    inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
EMULATION_VECTOR(char, signed char)
EMULATION_VECTOR(uchar, unsigned char)
EMULATION_VECTOR(short, short)
EMULATION_VECTOR(ushort, unsigned short)
EMULATION_VECTOR(int, int)
EMULATION_VECTOR(uint, unsigned)
EMULATION_VECTOR(float, float)
#undef EMULATION_VECTOR

/// A grid's or a block's size.
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned width = 1, unsigned height = 1, unsigned depth = 1) : x(width), y(height), z(depth) {}
    constexpr dim3(uint3 size) : x(size.x), y(size.y), z(size.z) {}
    constexpr operator uint3() const { return {x, y, z}; }
};

namespace emulation::detail {

inline constinit uint3 thread_index{};
inline constinit uint3 block_index{};
inline constinit dim3 block_size{};
inline constinit dim3 grid_size{};

constexpr std::size_t volume(dim3 size) { return std::size_t{size.x} * size.y * size.z; }

}  // namespace emulation::detail

inline constexpr uint3 const& threadIdx = emulation::detail::thread_index;
inline constexpr uint3 const& blockIdx = emulation::detail::block_index;
inline constexpr dim3 const& blockDim = emulation::detail::block_size;
inline constexpr dim3 const& gridDim = emulation::detail::grid_size;
inline constexpr int warpSize = 32;
