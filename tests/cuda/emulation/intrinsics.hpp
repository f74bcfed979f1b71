// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>

#include "block.hpp"
#include "types.hpp"

// Barriers, warp operations, atomics and fast mathematics of CUDA C++, by their own names. Warp operations are stricter than a GPU: every lane of the
// mask must arrive, also one that has returned or that the block does not have.

#define EMULATION_CALLER char const *function = __builtin_FUNCTION(), char const *file = __builtin_FILE(), int line = __builtin_LINE()
#define EMULATION_CALL(what) \
    ::emulation::detail::call { what, function, file, line }

namespace emulation::detail {

inline void separate_accesses(thread* lanes, unsigned) { machine::get().note_warp_barrier(machine::get().warp_of(*lanes)); }

inline void sum_votes(thread* lanes, unsigned mask) {
    unsigned votes = 0;
    for (unsigned rest = mask; rest != 0; rest &= rest - 1) {
        int lane = std::countr_zero(rest);
        votes |= static_cast<unsigned>(lanes[lane].given) << lane;
    }
    for (unsigned rest = mask; rest != 0; rest &= rest - 1) lanes[std::countr_zero(rest)].got = votes;
}

inline void shuffle_values(thread* lanes, unsigned mask) {
    for (unsigned rest = mask; rest != 0; rest &= rest - 1) {
        thread& t = lanes[std::countr_zero(rest)];
        t.got = lanes[t.source].given;
    }
}

inline unsigned vote(unsigned mask, bool value, call const& where) {
    machine& m = machine::get();
    thread& t = m.self(where.what);
    t.given = value;
    m.meet(t, where, mask, &sum_votes);
    return static_cast<unsigned>(t.got);
}

/// source(lane, first, end): the lane that is read, where the caller's group of `width` lanes is [first, end).
template <class T, class Source>
T shuffle(unsigned mask, T value, int width, call const& where, Source source) {
    static_assert(std::is_arithmetic_v<T> && sizeof(T) <= 8, "CUDA shuffles numbers of up to 8 bytes");
    machine& m = machine::get();
    thread& t = m.self(where.what);
    if (width < 1 || width > 32 || (width & (width - 1)) != 0) {
        m.fail([&] { return "the width " + std::to_string(width) + " of " + to_string(where) + " is no power of 2 up to 32"; });
    }
    int lane = static_cast<int>(t.number % 32);
    int first = lane & ~(width - 1);
    t.source = static_cast<unsigned>(source(lane, first, first + width));
    if ((mask >> t.source & 1) == 0) {
        m.fail([&] {
            return "thread " + to_string(t.index) + " reads lane " + std::to_string(t.source) + ", which is not in the mask " + machine::hex(mask) +
                   " of " + to_string(where);
        });
    }
    std::memcpy(&t.given, &value, sizeof value);
    m.meet(t, where, mask, &shuffle_values);
    std::memcpy(&value, &t.got, sizeof value);
    return value;
}

/// Replaces a value by f of it. One thread runs at a time, so plain reads and writes are atomic.
template <class T, class F>
T atomically(T* p, F f) {
    machine::get().note(p, sizeof(T), access_kind::atomic, __builtin_return_address(0));
    unwatched own;
    T old = *p;
    *p = f(old);
    return old;
}

/// Wraps around, as the device does.
template <class T>
T sum(T a, T b) {
    if constexpr (std::is_floating_point_v<T>)
        return a + b;
    else
        return static_cast<T>(static_cast<std::make_unsigned_t<T>>(a) + static_cast<std::make_unsigned_t<T>>(b));
}

}  // namespace emulation::detail

inline void __syncthreads(EMULATION_CALLER) { emulation::detail::machine::get().barrier(EMULATION_CALL("__syncthreads")); }

inline void __syncwarp(unsigned mask = 0xffffffffu, EMULATION_CALLER) {
    auto& m = emulation::detail::machine::get();
    m.meet(m.self("__syncwarp"), EMULATION_CALL("__syncwarp"), mask, &emulation::detail::separate_accesses);
}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, EMULATION_CALLER) {
    return emulation::detail::shuffle(mask, value, width, EMULATION_CALL("__shfl_sync"),
                                      [=](int, int first, int) { return first + (source & (width - 1)); });
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, EMULATION_CALLER) {
    return emulation::detail::shuffle(mask, value, width, EMULATION_CALL("__shfl_up_sync"), [=](int lane, int first, int) {
        return lane - static_cast<int>(delta) < first ? lane : lane - static_cast<int>(delta);
    });
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, EMULATION_CALLER) {
    return emulation::detail::shuffle(mask, value, width, EMULATION_CALL("__shfl_down_sync"), [=](int lane, int, int end) {
        return lane + static_cast<int>(delta) < end ? lane + static_cast<int>(delta) : lane;
    });
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, EMULATION_CALLER) {
    return emulation::detail::shuffle(mask, value, width, EMULATION_CALL("__shfl_xor_sync"),
                                      [=](int lane, int, int end) { return (lane ^ lane_mask) < end ? lane ^ lane_mask : lane; });
}

inline unsigned __ballot_sync(unsigned mask, int predicate, EMULATION_CALLER) {
    return emulation::detail::vote(mask, predicate != 0, EMULATION_CALL("__ballot_sync"));
}
inline int __any_sync(unsigned mask, int predicate, EMULATION_CALLER) {
    return emulation::detail::vote(mask, predicate != 0, EMULATION_CALL("__any_sync")) != 0;
}
inline int __all_sync(unsigned mask, int predicate, EMULATION_CALLER) {
    return emulation::detail::vote(mask, predicate != 0, EMULATION_CALL("__all_sync")) == mask;
}

/// The lanes that have not returned: which of them took the same branch is not known here.
inline unsigned __activemask() {
    auto& m = emulation::detail::machine::get();
    auto& w = m.warp_of(m.self("__activemask"));
    return w.exists & ~w.returned;
}

inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}

#define EMULATION_ATOMICS(type)                                                                                \
    inline type atomicAdd(type* p, type value) {                                                               \
        return emulation::detail::atomically(p, [=](type old) { return emulation::detail::sum(old, value); }); \
    }                                                                                                          \
    inline type atomicExch(type* p, type value) {                                                              \
        return emulation::detail::atomically(p, [=](type) { return value; });                                  \
    }
#define EMULATION_INTEGER_ATOMICS(type)                                                                   \
    EMULATION_ATOMICS(type)                                                                               \
    inline type atomicMax(type* p, type value) {                                                          \
        return emulation::detail::atomically(p, [=](type old) { return old < value ? value : old; });     \
    }                                                                                                     \
    inline type atomicMin(type* p, type value) {                                                          \
        return emulation::detail::atomically(p, [=](type old) { return value < old ? value : old; });     \
    }                                                                                                     \
    inline type atomicCAS(type* p, type expected, type value) {                                           \
        return emulation::detail::atomically(p, [=](type old) { return old == expected ? value : old; }); \
    }
EMULATION_ATOMICS(float)
EMULATION_INTEGER_ATOMICS(int)
EMULATION_INTEGER_ATOMICS(unsigned)
EMULATION_INTEGER_ATOMICS(unsigned long long)
#undef EMULATION_INTEGER_ATOMICS
#undef EMULATION_ATOMICS

template <class T>
T __ldg(T const* p) {
    return *p;
}

/// The sum of four products of bytes, and c.
inline int __dp4a(int a, int b, int c) {
    for (int i = 0; i < 4; ++i) {
        int product = static_cast<std::int8_t>(static_cast<unsigned>(a) >> 8 * i) * static_cast<std::int8_t>(static_cast<unsigned>(b) >> 8 * i);
        c = emulation::detail::sum(c, product);
    }
    return c;
}
inline unsigned __dp4a(unsigned a, unsigned b, unsigned c) {
    for (int i = 0; i < 4; ++i) c += (a >> 8 * i & 255) * (b >> 8 * i & 255);
    return c;
}

inline float __fdividef(float a, float b) { return a / b; }
inline float __frcp_rn(float a) { return 1 / a; }
inline float __int_as_float(int bits) { return std::bit_cast<float>(bits); }
inline float __uint_as_float(unsigned bits) { return std::bit_cast<float>(bits); }
inline int __float_as_int(float a) { return std::bit_cast<int>(a); }
inline unsigned __float_as_uint(float a) { return std::bit_cast<unsigned>(a); }
inline int __popc(unsigned a) { return std::popcount(a); }
inline int __clz(int a) { return std::countl_zero(static_cast<unsigned>(a)); }
inline int __ffs(int a) { return a == 0 ? 0 : std::countr_zero(static_cast<unsigned>(a)) + 1; }

namespace emulation {
inline float fast_exp(float a) { return std::exp(a); }
inline float fast_log(float a) { return std::log(a); }
inline float reciprocal_sqrt(float a) { return 1 / std::sqrt(a); }
}  // namespace emulation

// Macros: the C library has functions of its own by these names, or may get them.
#define __expf(x) ::emulation::fast_exp(x)
#define __logf(x) ::emulation::fast_log(x)
#define rsqrtf(x) ::emulation::reciprocal_sqrt(x)
