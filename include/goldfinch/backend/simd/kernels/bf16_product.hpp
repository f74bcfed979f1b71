// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include <goldfinch/backend/simd/kernels/amx.hpp>

// The product of bf16 weights with many tokens, whose activations are rounded to bf16: in AMX tiles, or by AVX-512's dot products of pairs.

namespace goldfinch {
inline namespace GOLDFINCH_TARGET {
namespace kernel {

// x goes in one part, rounded to 8 bits, or as the sum of two bf16, which keep 16: weights, once loaded, meet both. Rounding moves the logits of a small
// random model by 3 in 100 with one part, by 3 in 100,000 with two, which is not more than another order of sums.
//
// Depth goes by blocks of 256 columns, or of 128 in two parts. A block of 32 tokens is 16 KiB, stays in L1 and meets 32 rows after others, which
// come from L2, where the sums wait as well, 4 KiB there and back once in 32 products of tiles. In the 64 cycles that four products take, 3 KiB
// pass between L1 and L2, or 2 KiB in two parts, where with both operands from L2 it would be 4 KiB. More depth at once moves fewer sums, but then
// weights on their way drive the tokens out of L1. Dot products take the same blocks, with the weights copied.

/// Rows and tokens that are summed at once, columns of one product of tiles, and of those, at most, one after another.
inline constexpr std::size_t amx_square = 2 * amx_rows, amx_step = 32, amx_steps = 8;

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

/// Dot products of pairs of bf16 in plain loops: what AVX-512's instruction is defined to do, but that it takes denormal numbers for 0.
struct portable_dots {
    struct sums {
        float lane[16];
    };
    struct pairs {
        std::uint32_t lane[16];
    };
    static sums load_sums(float const* p) {
        sums s;
        __builtin_memcpy(&s, p, sizeof s);
        return s;
    }
    static void store_sums(float* p, sums const& s) { __builtin_memcpy(p, &s, sizeof s); }
    static pairs load_pairs(bf16 const* p) {
        pairs x;
        __builtin_memcpy(&x, p, sizeof x);
        return x;
    }
    static pairs broadcast_pair(bf16 const* p) {
        pairs x;
        __builtin_memcpy(x.lane, p, sizeof x.lane[0]);
        for (std::size_t i = 1; i < 16; ++i) x.lane[i] = x.lane[0];
        return x;
    }
    /// Elements of a and b side by side, 32 of each: the first four of every eight, and the others.
    static void interleave(bf16 const* a, bf16 const* b, pairs& low, pairs& high) {
        for (std::size_t i = 0; i < 32; ++i) (i % 8 < 4 ? low : high).lane[i / 8 * 4 + i % 4] = a[i].bits | std::uint32_t{b[i].bits} << 16;
    }
    /// s += the odd elements of a and b, multiplied, and then the even ones.
    static void add(sums& s, pairs const& a, pairs const& b) {
        for (std::size_t i = 0; i < 16; ++i) {
            s.lane[i] += detail::bits_as<float>(a.lane[i] & 0xffff0000u) * detail::bits_as<float>(b.lane[i] & 0xffff0000u);
            s.lane[i] += detail::bits_as<float>(a.lane[i] << 16) * detail::bits_as<float>(b.lane[i] << 16);
        }
    }
};

#if GOLDFINCH_AVX512_BF16

/// Dot products by the processor's instruction.
struct hardware_dots {
    using sums = __m512;
    using pairs = __m512bh;
    GOLDFINCH_INLINE static sums load_sums(float const* p) { return _mm512_loadu_ps(p); }
    GOLDFINCH_INLINE static void store_sums(float* p, sums const& s) { _mm512_storeu_ps(p, s); }
    GOLDFINCH_INLINE static pairs load_pairs(bf16 const* p) { return detail::bits_as<pairs>(_mm512_loadu_si512(p)); }
    GOLDFINCH_INLINE static pairs broadcast_pair(bf16 const* p) {
        std::int32_t pair;
        __builtin_memcpy(&pair, p, sizeof pair);
        return detail::bits_as<pairs>(_mm512_set1_epi32(pair));
    }
    GOLDFINCH_INLINE static void interleave(bf16 const* a, bf16 const* b, pairs& low, pairs& high) {
        __m512i const x = _mm512_loadu_si512(a), y = _mm512_loadu_si512(b);
        low = detail::bits_as<pairs>(_mm512_unpacklo_epi16(x, y)), high = detail::bits_as<pairs>(_mm512_unpackhi_epi16(x, y));
    }
    GOLDFINCH_INLINE static void add(sums& s, pairs const& a, pairs const& b) { s = _mm512_dpbf16_ps(s, a, b); }
};

/// Whether hardware_dots multiply faster than float32 multiply-adds: twice as fast on AMD's processors, half as fast on Intel's.
inline bool dots_are_fast() { return is_amd(); }

#endif

/// Whether Tiles are dot products: their weights are copied, since rows a multiple of 4 KiB apart would fight for one set of L1.
template <class Tiles>
inline constexpr bool takes_dots = requires { typename Tiles::pairs; };

/// Rows of c [32, 32] and V vectors of their tokens, by dot products.
template <std::size_t Rows, std::size_t V, std::size_t Parts, class Dots>
void bf16_dots(bf16 const* w, std::size_t w_stride, bf16 const* x, std::size_t steps, float const* before, float* c) {
    constexpr std::size_t tile = amx_rows * amx_step;
    typename Dots::sums s[Rows * V];
    static constexpr float zeros[16] = {};
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < Rows * V; ++i) s[i] = Dots::load_sums(before == nullptr ? zeros : before + i / V * amx_square + i % V * 16);
    for (std::size_t i = 0; i < steps; ++i, w += amx_step)
        for (std::size_t part = 0; part < Parts; ++part, x += 2 * tile)
            for (std::size_t k = 0; k < amx_step; k += 2) {
                typename Dots::pairs const x0 = Dots::load_pairs(x + k * 16), x1 = Dots::load_pairs(x + (V - 1) * tile + k * 16);
                GOLDFINCH_UNROLL
                for (std::size_t r = 0; r < Rows; ++r) {
                    typename Dots::pairs const a = Dots::broadcast_pair(w + r * w_stride + k);
                    Dots::add(s[r * V], a, x0);
                    if constexpr (V == 2) Dots::add(s[r * V + 1], a, x1);
                }
            }
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < Rows * V; ++i) Dots::store_sums(c + i / V * amx_square + i % V * 16, s[i]);
}

/// bf16_square by dot products.
template <std::size_t Parts, bool Wide, class Dots>
requires(takes_dots<Dots>) void bf16_square(Dots&, bf16_rows const& w, bf16 const* x, std::size_t steps, float const* before, float* c, bf16_rows const& next) {
    constexpr std::size_t V = Wide ? 2 : 1, many = 12, few = amx_square - 2 * many;  // of `many` rows the sums and the rest fill the registers
    for (std::size_t r = 0; r < amx_square; r += many) {
        auto const add = r + many <= amx_square ? bf16_dots<many, V, Parts, Dots> : bf16_dots<few, V, Parts, Dots>;
        add(w.data + r * w.stride, w.stride, x, steps, before == nullptr ? nullptr : before + r * amx_square, c + r * amx_square);
    }
    for (std::size_t r = 0; r < next.size; ++r)
        for (std::size_t i = 0; i < steps; ++i) prefetch(next.data + r * next.stride + i * amx_step, 1);
}

/// to [rows, columns], rows `stride` apart, = the transpose of from, all but `rows_there` and `columns_there` of it zeros. Rows and columns: multiples of 16 and 32.
inline void copy_transposed(bf16 const* from, std::size_t from_stride, std::size_t rows_there, std::size_t columns_there, bf16* to, std::size_t stride,
                            std::size_t rows, std::size_t columns) {
    alignas(alignment) float pairs[16 * 16];  // of columns: what is transposed is 32 bits
    for (std::size_t r = 0; r < rows; r += 16)
        for (std::size_t k = 0; k < columns; k += 32) {
            bool const whole = r + 16 <= rows_there && k + 32 <= columns_there;
            for (std::size_t i = 0; i < 16; ++i) {
                bf16 both[2][16] = {};
                for (std::size_t half = 0; half < 2; ++half) {
                    std::size_t const column = k + 2 * i + half;
                    bf16 const* const row = from + column * from_stride + r;
                    if (whole)
                        __builtin_memcpy(both[half], row, sizeof both[half]);
                    else if (column < columns_there && r < rows_there)
                        copy(row, min(16, rows_there - r), both[half]);
                }
                std::uint32_t joined[16];
                for (std::size_t j = 0; j < 16; ++j) joined[j] = both[0][j].bits | std::uint32_t{both[1][j].bits} << 16;
                __builtin_memcpy(pairs + i * 16, joined, sizeof joined);
            }
            if constexpr (lanes == 16) {
                transpose(pairs, 16, pairs, 16);
                for (std::size_t j = 0; j < 16; ++j) __builtin_memcpy(static_cast<void*>(to + (r + j) * stride + k), pairs + j * 16, 64);
            } else {
                for (std::size_t j = 0; j < 16; ++j)
                    for (std::size_t i = 0; i < 16; ++i) __builtin_memcpy(static_cast<void*>(to + (r + j) * stride + k + 2 * i), pairs + i * 16 + j, 4);
            }
        }
}

/// A product y_t = w x_t in tiles, w [out, in], or stored as its transpose: `panels` of 32 tokens, `tiles` of 32 rows, and `depths`, blocks of it
/// with a few of all `steps`.
template <std::size_t Parts, bool Transposed = false>
struct bf16_product {
    using packed_type = bf16;
    static constexpr std::size_t longest_group = 8, tile = amx_rows * amx_step, square = amx_square * amx_square, most_steps = amx_steps / Parts,
                                 block_columns = most_steps * amx_step,
                                 copy_stride = block_columns + amx_step;  // a line more, so that a column of many rows does not fall into few sets of L1

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
    /// A tile of rows in a block of depth: where it is, unless they ask for a copy, or w is transposed or lacks rows or columns of it, which are zeros of a copy.
    bf16_rows weights(std::size_t i, std::size_t b, bf16* copied, bool in_place) const {
        std::size_t const row = i * amx_square, k = b * block_columns, width = steps_of(b) * amx_step, there = min(width, in - k);
        if constexpr (Transposed) {
            copy_transposed(w + k * out + row, out, min(amx_square, out - row), there, copied, copy_stride, amx_square, width);
            return {copied, copy_stride, amx_square};
        }
        bf16 const* const from = w + row * in + k;
        if (in_place && there == width && row + amx_square <= out) return {from, in, amx_square};
        for (std::size_t r = 0; r < amx_square; ++r) {
            std::size_t const n = row + r < out ? there : 0;
            if (n > 0) copy(from + r * in, n, copied + r * copy_stride);
            for (std::size_t c = n; c < width; ++c) copied[r * copy_stride + c] = bf16{};
        }
        return {copied, copy_stride, amx_square};
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
        bf16* const copies = memory.array<bf16>(n * amx_square * copy_stride);
        alignas(alignment) float whole[square];
        Tiles registers;
        for (std::size_t b = 0; b < depths; ++b) {
            bool const last = b + 1 == depths;
            bf16_rows a[longest_group];
            for (std::size_t i = 0; i < n; ++i) a[i] = weights(first + i, b, copies + i * amx_square * copy_stride, !takes_dots<Tiles>);
            for (std::size_t p = 0; p < n_panels; ++p)
                for (std::size_t i = 0; i < n; ++i) {
                    std::size_t const t = (first_panel + p) * amx_square, row = (first + i) * amx_square;
                    // Asked for meanwhile: these rows' next columns, or the first ones of the rows that this thread is likely to get next.
                    bf16_rows const next =
                        last ? share(first + i + threads * tasks.group, 0, p, n_panels) : share(first + i, (b + 1) * block_columns, p, n_panels);
                    float* const c = last ? whole : sums + (p * n + i) * square;
                    float const* const before = b == 0 ? nullptr : sums + (p * n + i) * square;
                    bf16 const* const some = packed + packed_at(b, first_panel + p);
                    if (tokens - t > amx_rows)
                        bf16_square<Parts, true>(registers, a[i], some, steps_of(b), before, c, next);
                    else
                        bf16_square<Parts, false>(registers, a[i], some, steps_of(b), before, c, next);
                    if (last) store_transposed(c, amx_square, min(amx_square, out - row), min(amx_square, tokens - t), y[t] + row, y.stride);
                }
        }
    }
};

/// y_t = w x_t, x rounded. Each sum runs over the depth in order, wherever its row and token are.
template <class Tiles, std::size_t Parts, bool Transposed = false>
void product_of_bf16(cpu_executor const& at, bf16 const* w, rows<float const> const& x, rows<float> const& y) {
    by_tiles<Tiles>(at, x, y, [&](std::size_t n) { return bf16_product<Parts, Transposed>{w, y.width, x.width, n}; });
}

}  // namespace kernel
}  // namespace GOLDFINCH_TARGET
}  // namespace goldfinch
