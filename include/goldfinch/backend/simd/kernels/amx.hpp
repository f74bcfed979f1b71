// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include <goldfinch/backend/simd/kernels/tile.hpp>

// Tiles of 16 rows x 64 bytes and their products, as AMX has them, and the product of bf16 weights with many tokens.
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

// bf16. x goes in one part, rounded to 8 bits, or as the sum of two bf16, which keep 16: a tile of weights, once loaded, meets both. Depth goes by
// blocks of 256 columns, or of 128 in two parts. A block of 32 tokens is 16 KiB, stays in L1 and meets one pair of row tiles after another, which
// come from L2, where the sums wait as well, 4 KiB there and back once in 32 products of tiles. In the 64 cycles that four products take, 3 KiB
// pass between L1 and L2, or 2 KiB in two parts, where with both operands from L2 it would be 4 KiB. More depth at once moves fewer sums, but then
// weights on their way drive the tokens out of L1.

/// Rows and tokens that are summed at once, columns of one product of tiles, and of those, at most, one after another.
inline constexpr std::size_t amx_square = 2 * amx_rows, amx_step = 32, amx_steps = 8;

/// Parts of x. Rounding moves the logits of a small model by 3 in 100 with one part, by 3 in 100,000 with two: not more than another order of sums.
inline constexpr std::size_t amx_parts = 2;

/// b, by pairs of columns, = up to 16 rows of x rounded to bf16, up to 32 columns; zeros behind both. Each other part: what the ones before it left.
template <std::size_t Parts>
void pack_pairs(float const* x, std::size_t stride, std::size_t rows, std::size_t columns, bf16* b, std::size_t part_stride) {
#if GOLDFINCH_AVX512_BF16
    alignas(alignment) float pairs[Parts][16 * 16];
    for (std::size_t t = 0; t < 16; ++t) {
        float const* const from = x + t * stride;
        vec first = t < rows ? load(from, columns) : broadcast(0);
        vec second = t < rows && columns > 16 ? load(from + 16, columns - 16) : broadcast(0);
        for (std::size_t part = 0; part < Parts; ++part) {
            auto const both = _mm512_cvtne2ps_pbh(second, first);
            __builtin_memcpy(pairs[part] + t * 16, &both, sizeof both);
            auto const* const rounded = reinterpret_cast<bf16 const*>(pairs[part] + t * 16);
            if (part + 1 < Parts) first = first - load(rounded), second = second - load(rounded + 16);
        }
    }
    for (std::size_t part = 0; part < Parts; ++part) transpose(pairs[part], 16, reinterpret_cast<float*>(b + part * part_stride), 16);
#else
    for (std::size_t k = 0; k < amx_step; ++k)
        for (std::size_t t = 0; t < 16; ++t) {
            float left = t < rows && k < columns ? x[t * stride + k] : 0;
            for (std::size_t part = 0; part < Parts; ++part) {
                bf16 const rounded(left);
                b[part * part_stride + (k / 2 * 16 + t) * 2 + k % 2] = rounded;
                left -= rounded;
            }
        }
#endif
}

/// Rows of bf16, `stride` elements apart.
struct bf16_rows {
    bf16 const* data;
    std::size_t stride, size;
};

/// c [32, 32] = 32 rows of w times packed tokens, and `before`, if that is not nullptr; 16 tokens and columns of c without Wide. What is in `next`
/// is asked for meanwhile.
template <std::size_t Parts, bool Wide, class Tiles>
void bf16_square(Tiles& tiles, bf16_rows const& w, bf16 const* x, std::size_t steps, float const* before, float* c, bf16_rows const& next) {
    constexpr amx_tile<0> c00;
    constexpr amx_tile<1> c01;
    constexpr amx_tile<2> c10;
    constexpr amx_tile<3> c11;
    constexpr amx_tile<4> a0;
    constexpr amx_tile<5> a1;
    constexpr amx_tile<6> b0;
    constexpr amx_tile<7> b1;
    constexpr std::size_t tile = amx_rows * amx_step, c_stride = amx_square * sizeof(float), half_c = amx_rows * amx_square;
    std::size_t const stride = w.stride * sizeof(bf16);
    if (before == nullptr) {
        tiles.zero(c00), tiles.zero(c10);
        if constexpr (Wide) tiles.zero(c01), tiles.zero(c11);
    } else {
        tiles.load(c00, before, c_stride), tiles.load(c10, before + half_c, c_stride);
        if constexpr (Wide) tiles.load(c01, before + 16, c_stride), tiles.load(c11, before + half_c + 16, c_stride);
    }
    for (std::size_t i = 0; i < steps; ++i) {
        bf16 const* const row = w.data + i * amx_step;
        tiles.load(a0, row, stride);
        tiles.load(a1, row + amx_rows * w.stride, stride);
        GOLDFINCH_UNROLL
        for (std::size_t part = 0; part < Parts; ++part, x += 2 * tile) {
            tiles.load(b0, x, amx_bytes);
            tiles.add_bf16(c00, a0, b0);
            tiles.add_bf16(c10, a1, b0);
            if constexpr (Wide) {
                tiles.load(b1, x + tile, amx_bytes);
                tiles.add_bf16(c01, a0, b1);
                tiles.add_bf16(c11, a1, b1);
            }
        }
        for (std::size_t r = 0; r < next.size; ++r) prefetch(next.data + r * next.stride + i * amx_step, 1);
    }
    tiles.store(c00, c, c_stride), tiles.store(c10, c + half_c, c_stride);
    if constexpr (Wide) tiles.store(c01, c + 16, c_stride), tiles.store(c11, c + half_c + 16, c_stride);
}

/// to [rows, columns] = the transpose of from, all but `rows_there` and `columns_there` of it zeros; both in memory row by row.
inline void copy_transposed(bf16 const* from, std::size_t from_stride, std::size_t rows_there, std::size_t columns_there, bf16* to, std::size_t rows,
                            std::size_t columns) {
    alignas(alignment) float square[lanes * lanes];
    for (std::size_t r = 0; r < rows; r += lanes)
        for (std::size_t k = 0; k < columns; k += lanes) {
            for (std::size_t i = 0; i < lanes; ++i)
                store(square + i * lanes,
                      k + i < columns_there && r < rows_there ? load(from + (k + i) * from_stride + r, rows_there - r) : broadcast(0));
            transpose(square, lanes, square, lanes);
            for (std::size_t i = 0; i < lanes; ++i)
                for (std::size_t j = 0; j < lanes; ++j)
                    to[(r + i) * columns + k + j].bits = static_cast<std::uint16_t>(detail::bits_as<std::uint32_t>(square[i * lanes + j]) >> 16);
        }
}

/// A product y_t = w x_t in tiles, w [out, in], or stored as its transpose: `panels` of 32 tokens, `tiles` of 32 rows, and `depths`, blocks of it
/// with a few of all `steps`.
template <std::size_t Parts, bool Transposed = false>
struct bf16_product {
    using packed_type = bf16;
    static constexpr std::size_t longest_group = 8, tile = amx_rows * amx_step, square = amx_square * amx_square, most_steps = amx_steps / Parts,
                                 block_columns = most_steps * amx_step;

    bf16 const* w;
    std::size_t out, in, tokens;
    std::size_t panels = ceil_div(tokens, amx_square), tiles = ceil_div(out, amx_square);
    std::size_t steps = ceil_div(in, amx_step), depths = max(1, ceil_div(steps, most_steps));

    std::size_t steps_of(std::size_t b) const { return min(steps, (b + 1) * most_steps) - b * most_steps; }
    /// Where the tokens of a panel in a block of depth begin: two tiles a step and part.
    std::size_t packed_at(std::size_t b, std::size_t p) const { return 2 * tile * Parts * (b * most_steps * panels + p * steps_of(b)); }

    void pack(rows<float const> const& x, std::size_t b, std::size_t p, bf16* packed) const {
        bf16* to = packed + packed_at(b, p);
        for (std::size_t i = 0, k = b * block_columns; i < steps_of(b); ++i, k += amx_step, to += 2 * tile * Parts)
            for (std::size_t half = 0, t = p * amx_square; half < 2 && t < tokens; ++half, t += amx_rows)
                pack_pairs<Parts>(x[t] + k, x.stride, min(amx_rows, tokens - t), min(amx_step, in - k), to + half * tile, 2 * tile);
    }
    /// A tile of rows in a block of depth: where it is, unless w is transposed or lacks rows or columns of it, which are zeros of a copy.
    bf16_rows weights(std::size_t i, std::size_t b, bf16* copied) const {
        std::size_t const row = i * amx_square, k = b * block_columns, width = steps_of(b) * amx_step, there = min(width, in - k);
        if constexpr (Transposed) {
            copy_transposed(w + k * out + row, out, min(amx_square, out - row), there, copied, amx_square, width);
            return {copied, width, amx_square};
        }
        bf16 const* const from = w + row * in + k;
        if (there == width && row + amx_square <= out) return {from, in, amx_square};
        for (std::size_t r = 0; r < amx_square; ++r) {
            std::size_t const n = row + r < out ? there : 0;
            if (n > 0) copy(from + r * in, n, copied + r * width);
            for (std::size_t c = n; c < width; ++c) copied[r * width + c] = bf16{};
        }
        return {copied, width, amx_square};
    }
    /// One of equal shares of a tile's rows, from column k on.
    bf16_rows share(std::size_t i, std::size_t k, std::size_t index, std::size_t shares) const {
        if constexpr (Transposed) return {w, in, 0};
        std::size_t const size = ceil_div(amx_square, shares), row = i * amx_square + index * size,
                          end = min(out, min(row + size, (i + 1) * amx_square));
        return row < end ? bf16_rows{w + row * in + k, in, end - row} : bf16_rows{w, in, 0};
    }
    template <class Tiles>
    void run(cpu_executor const& alone, amx_tasks const& tasks, std::size_t task, bf16 const* packed, rows<float> const& y,
             std::size_t threads) const {
        std::size_t const first = task % tasks.groups * tasks.group, n = min(tasks.group, tiles - first);
        std::size_t const first_panel = task / tasks.groups * tasks.panels, n_panels = min(tasks.panels, panels - first_panel);
        temporaries memory(alone);
        float* const sums = memory.array<float>(depths > 1 ? n_panels * n * square : 0);
        bf16* const copies = memory.array<bf16>(n * amx_square * block_columns);
        alignas(alignment) float whole[square];
        Tiles registers;
        for (std::size_t b = 0; b < depths; ++b) {
            bool const last = b + 1 == depths;
            bf16_rows a[longest_group];
            for (std::size_t i = 0; i < n; ++i) a[i] = weights(first + i, b, copies + i * amx_square * block_columns);
            for (std::size_t p = 0; p < n_panels; ++p)
                for (std::size_t i = 0; i < n; ++i) {
                    std::size_t const t = (first_panel + p) * amx_square, row = (first + i) * amx_square;
                    // Asked for meanwhile: these rows' next columns, or the first ones of the rows that this thread is likely to get next.
                    bf16_rows const next =
                        last ? share(first + i + threads * tasks.group, 0, p, n_panels) : share(first + i, (b + 1) * block_columns, p, n_panels);
                    float* const c = last ? whole : sums + (p * n + i) * square;
                    float const* const before = b == 0 ? nullptr : sums + (p * n + i) * square;
                    auto const add = tokens - t > amx_rows ? bf16_square<Parts, true, Tiles> : bf16_square<Parts, false, Tiles>;
                    add(registers, a[i], packed + packed_at(b, first_panel + p), steps_of(b), before, c, next);
                    if (last) store_transposed(c, amx_square, min(amx_square, out - row), min(amx_square, tokens - t), y[t] + row, y.stride);
                }
        }
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

/// y_t = w x_t, x rounded. Each sum runs over the depth in order, wherever its row and token are.
template <class Tiles, std::size_t Parts = amx_parts, bool Transposed = false>
void amx_product(cpu_executor const& at, bf16 const* w, rows<float const> const& x, rows<float> const& y) {
    by_tiles<Tiles>(at, x, y, [&](std::size_t n) { return bf16_product<Parts, Transposed>{w, y.width, x.width, n}; });
}

}  // namespace kernel
}  // namespace GOLDFINCH_TARGET
}  // namespace goldfinch
