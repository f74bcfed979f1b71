// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include <goldfinch/backend/simd/kernels/tile.hpp>

// Tiles of 16 rows x 64 bytes and their products, as AMX has them, and how the tasks of a product of a matrix with many tokens are dealt.
//
//                       x, packed: 2 tiles, each row a pair of columns of 16 tokens
//                      +----------+----------+
//                      | b0       | b1       |  16 pairs, 32 columns of w
//     w, where it is   +----------+----------+
//       +---------+    +----------+----------+
//       | a0      |    | c00      | c01      |  16 rows
//       +---------+    +----------+----------+
//       | a1      |    | c10      | c11      |  16 rows
//       +---------+    +----------+----------+
//        32 columns      16 tokens  16 tokens

namespace goldfinch {
inline namespace GOLDFINCH_TARGET {
namespace kernel {

/// Rows of a tile, and bytes of a row.
inline constexpr std::size_t amx_rows = 16, amx_bytes = 64;

/// One of the eight tiles. Instructions name theirs by a constant.
template <int N>
requires(N >= 0 && N < 8) struct amx_tile {
};

/// The tiles in plain loops: what each instruction is defined to do, but that it takes denormal numbers for 0. An object is what a processor's
/// tile registers hold.
class portable_tiles {
public:
    template <int N>
    void zero(amx_tile<N>) {
        __builtin_memset(bytes_[N], 0, sizeof bytes_[N]);
    }
    /// Rows `stride` bytes apart.
    template <int N>
    void load(amx_tile<N>, void const* p, std::size_t stride) {
        for (std::size_t i = 0; i < amx_rows; ++i) __builtin_memcpy(bytes_[N][i], static_cast<std::byte const*>(p) + i * stride, amx_bytes);
    }
    template <int N>
    void store(amx_tile<N>, void* p, std::size_t stride) const {
        for (std::size_t i = 0; i < amx_rows; ++i) __builtin_memcpy(static_cast<std::byte*>(p) + i * stride, bytes_[N][i], amx_bytes);
    }
    /// c [16, 16] of float += a [16, 32] b [32, 16] of bf16, b by pairs of rows: those of even columns of a are summed, those of odd ones, then both.
    template <int C, int A, int B>
    void add_bf16(amx_tile<C>, amx_tile<A>, amx_tile<B>) {
        for (std::size_t i = 0; i < amx_rows; ++i) {
            float even[16] = {}, odd[16] = {}, c[16];
            for (std::size_t k = 0; k < 16; ++k) {
                std::uint32_t a, b[16];
                __builtin_memcpy(&a, bytes_[A][i] + 4 * k, sizeof a);
                __builtin_memcpy(b, bytes_[B][k], sizeof b);
                float const a_even = detail::bits_as<float>(a << 16), a_odd = detail::bits_as<float>(a & 0xffff0000u);
                for (std::size_t j = 0; j < 16; ++j) {
                    even[j] += a_even * detail::bits_as<float>(b[j] << 16);
                    odd[j] += a_odd * detail::bits_as<float>(b[j] & 0xffff0000u);
                }
            }
            __builtin_memcpy(c, bytes_[C][i], sizeof c);
            for (std::size_t j = 0; j < 16; ++j) c[j] += even[j] + odd[j];
            __builtin_memcpy(bytes_[C][i], c, sizeof c);
        }
    }
    /// c [16, 16] of 32 bits += a [16, 64] b [64, 16], a of unsigned bytes, b of signed ones by fours of rows.
    template <int C, int A, int B>
    void add_bytes(amx_tile<C>, amx_tile<A>, amx_tile<B>) {
        for (std::size_t i = 0; i < amx_rows; ++i) {
            std::int32_t c[16];
            __builtin_memcpy(c, bytes_[C][i], sizeof c);
            for (std::size_t k = 0; k < 16; ++k) {
                std::uint8_t a[4];
                std::int8_t b[64];
                __builtin_memcpy(a, bytes_[A][i] + 4 * k, sizeof a);
                __builtin_memcpy(b, bytes_[B][k], sizeof b);
                for (std::size_t j = 0; j < 16; ++j)
                    for (std::size_t l = 0; l < 4; ++l) c[j] += a[l] * b[4 * j + l];
            }
            __builtin_memcpy(bytes_[C][i], c, sizeof c);
        }
    }

private:
    alignas(amx_bytes) std::byte bytes_[8][amx_rows][amx_bytes] = {};
};

#if GOLDFINCH_AMX

/// The processor's. They are set up, all of them whole, and in use while an object lives: one at a time in a thread.
// Compilers' own intrinsics want numbers where these have template arguments, and GCC 12's for the configuration tells the optimiser of 8 of
// the 64 bytes that it reads.
class hardware_tiles {
public:
    hardware_tiles() {
        struct {
            std::uint8_t palette = 1, start_row = 0, unused[14] = {};
            std::uint16_t row_bytes[16] = {amx_bytes, amx_bytes, amx_bytes, amx_bytes, amx_bytes, amx_bytes, amx_bytes, amx_bytes};
            std::uint8_t rows[16] = {amx_rows, amx_rows, amx_rows, amx_rows, amx_rows, amx_rows, amx_rows, amx_rows};
        } const setup;
        static_assert(sizeof setup == 64);
        asm volatile("ldtilecfg %0" : : "m"(setup));
    }
    hardware_tiles(hardware_tiles const&) = delete;
    hardware_tiles& operator=(hardware_tiles const&) = delete;
    ~hardware_tiles() { asm volatile("tilerelease"); }

    template <int N>
    GOLDFINCH_INLINE void zero(amx_tile<N>) {
        asm volatile("tilezero %%tmm%c0" : : "n"(N));
    }
    template <int N>
    GOLDFINCH_INLINE void load(amx_tile<N>, void const* p, std::size_t stride) {
        asm volatile("tileloadd (%1,%2,1), %%tmm%c0" : : "n"(N), "r"(p), "r"(stride) : "memory");
    }
    template <int N>
    GOLDFINCH_INLINE void store(amx_tile<N>, void* p, std::size_t stride) const {
        asm volatile("tilestored %%tmm%c0, (%1,%2,1)" : : "n"(N), "r"(p), "r"(stride) : "memory");
    }
    template <int C, int A, int B>
    GOLDFINCH_INLINE void add_bf16(amx_tile<C>, amx_tile<A>, amx_tile<B>) {
        asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "n"(C), "n"(A), "n"(B));
    }
    template <int C, int A, int B>
    GOLDFINCH_INLINE void add_bytes(amx_tile<C>, amx_tile<A>, amx_tile<B>) {
        asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "n"(C), "n"(A), "n"(B));
    }
};

#endif

/// How a product of tiles of rows and tiles of tokens is cut into tasks: `groups` of tiles of rows times `parts` of the tokens. What a sum is does
/// not depend on it.
struct amx_tasks {
    std::size_t group, groups, panels, parts, count;  ///< tiles of rows in a group, panels of tokens in a part

    /// `longest`: tiles of rows whose weights of one block of depth stay in L2, with their sums and the packed activations of that block.
    amx_tasks(std::size_t tiles, std::size_t longest, std::size_t all_panels, std::size_t threads) {
        std::size_t const enough = 4 * threads;  // for the last ones to keep nobody waiting
        group = clamp(tiles / enough, 1, longest), groups = ceil_div(tiles, group);
        panels = ceil_div(all_panels, clamp(enough / max(1, groups), 1, all_panels));
        parts = ceil_div(all_panels, panels), count = groups * parts;
    }
};

/// y_t = w x_t for many tokens, some at a time: make(n) is the product for n of them, such as bf16_product, which packs x and then runs by tasks.
template <class Tiles, class Make>
void by_tiles(cpu_executor const& at, rows<float const> const& x, rows<float> const& y, Make const& make) {
    constexpr std::size_t at_once = 512;  // bounds the packed copy of x, and what a task keeps in L2
    for (std::size_t t = 0; t < x.size; t += at_once) {
        std::size_t const n = min(at_once, x.size - t);
        rows<float const> const some{x[t], n, x.stride, x.width};
        auto const product = make(n);
        using product_type = decltype(make(n));
        amx_tasks const tasks(product.tiles, product.longest_group, product.panels, at.threads);
        temporaries memory(at);
        auto* const packed = memory.array<typename product_type::packed_type>(product.packed_at(product.depths - 1, product.panels));
        parallel(at, product.panels * product.depths,
                 [=](cpu_executor const&, std::size_t i) { product.pack(some, i / product.panels, i % product.panels, packed); });
        parallel(at, tasks.count, [=](cpu_executor const& alone, std::size_t task) {
            product.template run<Tiles>(alone, tasks, task, packed, {y[t], n, y.stride, y.width}, at.threads);
        });
    }
}

}  // namespace kernel
}  // namespace GOLDFINCH_TARGET
}  // namespace goldfinch
