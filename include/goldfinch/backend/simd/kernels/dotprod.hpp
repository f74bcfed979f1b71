// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <goldfinch/compiled_for.hpp>

#if GOLDFINCH_NEON_DOTPROD

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <goldfinch/backend/simd/kernels/integers.hpp>
#include <goldfinch/backend/simd/kernels/loops.hpp>

// Products of packed integers with activations rounded to 16 bits, in integer arithmetic (SDOT): bytes of weights s, with their sign, times the
// high and the low bytes of q = 256 high + low, where x = q * scale in each block of 64.
//
//     sum s x  =  scale * ((sum s high) * 256  +  sum s low)
//
// The sums of a block are exact in 32 bits. 4-bit weights stay in the highest bits of their bytes, which makes them 16 times as large, and sums
// are divided by that at the end.

namespace goldfinch {
inline namespace GOLDFINCH_TARGET {
namespace kernel {

/// Activations of a block of columns, rounded to 16 bits, in the order of `signed_bytes` or in that of columns.
struct rounded_block {
    static constexpr std::size_t columns = detail::quantized_block;
    alignas(16) std::int8_t high[columns];
    std::int8_t low[columns];
    float scale;  // NaN where x is not finite
};

/// Rounds n elements of x, and zeros behind them.
template <bool Apart>
void round_block(float const* x, std::size_t n, rounded_block& to) {
    constexpr std::size_t vectors = rounded_block::columns / lanes;
    constexpr float largest_q = 127 * 256 + 127;
    vec v[vectors];
    int32x4_t most = vdupq_n_s32(0);
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < vectors; ++i) {
        v[i] = i * lanes < n ? load(x + i * lanes, n - i * lanes) : broadcast(0);
        most = vmaxq_s32(most, vandq_s32(vreinterpretq_s32_f32(v[i]), vdupq_n_s32(0x7fffffff)));
    }
    int const bits = vmaxvq_s32(most);  // of magnitudes, which are in the order of their bits
    bool const finite = bits < 0x7f800000, usable = finite && bits > 0x00ffffff;  // not so small that the inverse is infinite
    float const magnitude = detail::bits_as<float>(static_cast<std::uint32_t>(bits));
    vec const inverse = broadcast(usable ? largest_q / magnitude : 0);
    int16x4_t const there = vdup_n_s16(usable ? -1 : 0);
    auto const rounded = [&](std::size_t i) GOLDFINCH_LAMBDA_INLINE { return vand_s16(vmovn_s32(vcvtnq_s32_f32(v[i] * inverse)), there); };
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < vectors; i += 8) {
        int8x8_t high[4], low[4];  // (q + 128) >> 8, and what is left of q: its low byte, as a number with a sign
        GOLDFINCH_UNROLL
        for (std::size_t j = 0; j < 4; ++j) {
            int16x8_t const q = vcombine_s16(rounded(i + 2 * j), rounded(i + 2 * j + 1));
            high[j] = vrshrn_n_s16(q, 8);
            low[j] = vmovn_s16(q);
        }
        auto const put = [i](std::int8_t* bytes, int8x16_t a, int8x16_t b) GOLDFINCH_LAMBDA_INLINE {
            int8x16_t const even = vuzp1q_s8(a, b), odd = vuzp2q_s8(a, b);
            vst1q_s8(bytes + i * lanes, Apart ? even : a);
            vst1q_s8(bytes + i * lanes + 16, Apart ? odd : b);
        };
        put(to.high, vcombine_s8(high[0], high[1]), vcombine_s8(high[2], high[3]));
        put(to.low, vcombine_s8(low[0], low[1]), vcombine_s8(low[2], low[3]));
    }
    to.scale = usable ? magnitude / largest_q : finite ? 0 : detail::bits_as<float>(0x7fc00000u);
}

/// A block of packed integers as bytes with a sign: with 4 bits the even columns of 32, then the odd ones, all of them 16 times as large.
template <std::size_t Bits>
GOLDFINCH_INLINE void signed_bytes(std::byte const* p, int8x16_t* to) {
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < 4 * Bits / 8; ++i) {
        int8x16_t const bytes = veorq_s8(load_bytes(p + 16 * i), vdupq_n_s8(Bits == 8 ? -128 : -120));
        if constexpr (Bits == 8) {
            to[i] = bytes;
        } else {
            to[2 * i] = vshlq_n_s8(bytes, 4);
            to[2 * i + 1] = vandq_s8(bytes, vdupq_n_s8(-16));
        }
    }
}

/// What a unit of `signed_bytes` stands for.
template <std::size_t Bits>
inline constexpr float signed_unit = Bits == 8 ? 1.0f : 1.0f / 16;

/// Where a block of a row of weights lies: in the row, or, where the row ends before the block, copied to `filled` with zeros behind.
template <std::size_t Bits>
GOLDFINCH_INLINE std::byte const* whole_block(packed_matrix const& w, std::size_t row, std::size_t b, std::byte* filled) {
    constexpr std::size_t bytes = rounded_block::columns * Bits / 8;
    std::byte const* const p = w.packed(row) + b * bytes;
    std::size_t const there = w.row_bytes - b * bytes;
    if (there >= bytes) return p;
    __builtin_memset(filled, 0, bytes);
    __builtin_memcpy(filled, p, there);
    return filled;
}

GOLDFINCH_INLINE float scale_of(packed_matrix const& w, std::size_t row, std::size_t b) {
    std::uint16_t bits;
    __builtin_memcpy(&bits, w.scale(row) + 2 * b, sizeof bits);
    return detail::bits_as<float>(std::uint32_t{bits} << 16);
}

/// Rows of a tile of many tokens, and tokens: as many sums as fit in registers beside their operands. From that many tokens on transposing pays.
inline constexpr std::size_t dotprod_rows = 16, dotprod_tokens = 4;

// Few tokens: lanes are columns.

/// y [tokens, n] = x w^T for n rows of w from `row` on, at most 4, where x [tokens, blocks] are fewer than dotprod_tokens. Each sum runs over the
/// blocks in order.
template <std::size_t Bits>
void rounded_dots(packed_matrix const& w, std::size_t row, std::size_t n, rounded_block const* x, std::size_t blocks, std::size_t tokens, float* y,
                  std::size_t y_stride) {
    vec sums[dotprod_tokens];
    for (vec& s : sums) s = broadcast(0);
    for (std::size_t b = 0; b < blocks; ++b) {
        int8x16_t bytes[4][4];
        float scale[4];
        GOLDFINCH_UNROLL
        for (std::size_t r = 0; r < 4; ++r) {
            std::size_t const i = min(r, n - 1);
            std::byte filled[rounded_block::columns];
            signed_bytes<Bits>(whole_block<Bits>(w, row + i, b, filled), bytes[r]);
            prefetch_weights(w.packed(row + i) + b * rounded_block::columns * Bits / 8);
            scale[r] = scale_of(w, row + i, b);
        }
        for (std::size_t t = 0; t < tokens; ++t) {
            rounded_block const& of = x[t * blocks + b];
            int32x4_t s[4];
            GOLDFINCH_UNROLL
            for (std::size_t r = 0; r < 4; ++r) {
                int32x4_t high = vdupq_n_s32(0), low = high;
                GOLDFINCH_UNROLL
                for (std::size_t i = 0; i < 4; ++i) {
                    high = vdotq_s32(high, bytes[r][i], vld1q_s8(of.high + 16 * i));
                    low = vdotq_s32(low, bytes[r][i], vld1q_s8(of.low + 16 * i));
                }
                s[r] = vaddq_s32(vshlq_n_s32(high, 8), low);
            }
            int32x4_t const totals = vpaddq_s32(vpaddq_s32(s[0], s[1]), vpaddq_s32(s[2], s[3]));  // a row in a lane
            sums[t] = multiply_add(vec(vcvtq_f32_s32(totals)), load(scale) * broadcast(of.scale), sums[t]);
        }
    }
    for (std::size_t t = 0; t < tokens; ++t) store(y + t * y_stride, sums[t] * broadcast(signed_unit<Bits>), n);
}

/// y_t = w x_t for x rounded [tokens, blocks], for few tokens.
template <std::size_t Bits>
void rounded_few(cpu_executor const& at, packed_matrix const& w, rounded_block const* x, std::size_t blocks, rows<float> y) {
    constexpr std::size_t rows_at_once = 4;
    std::size_t const out = y.width, run = ceil_div(max(1, 65536 / max(1, w.row_bytes)), rows_at_once) * rows_at_once;
    parallel(at, ceil_div(out, run), [=](cpu_executor const&, std::size_t task) {
        for (std::size_t r = task * run, last = min(out, r + run); r < last; r += rows_at_once)
            rounded_dots<Bits>(w, r, min(rows_at_once, last - r), x, blocks, y.size, y.data + r, y.stride);
    });
}

// Many tokens: outputs are lanes, and a lane has 4 columns of one row, so that weights are transposed, some rows at a time.

/// Bytes of weights [blocks, 16, dotprod_rows, 4] and scales [blocks, dotprod_rows] of rows [first, first + dotprod_rows); scales of zero for rows
/// that w lacks.
template <std::size_t Bits>
void transpose_weights(packed_matrix const& w, std::size_t first, std::size_t rows_there, std::size_t blocks, std::int8_t* to, float* scales) {
    for (std::size_t b = 0; b < blocks; ++b, to += 64 * dotprod_rows, scales += dotprod_rows)
        for (std::size_t r = 0; r < dotprod_rows; r += 4) {
            int8x16_t square[4][4];  // of a row, 16 columns in order
            for (std::size_t i = 0; i < 4; ++i) {
                bool const there = r + i < rows_there;
                std::size_t const row = there ? first + r + i : first;
                std::byte filled[rounded_block::columns];
                int8x16_t bytes[4];
                signed_bytes<Bits>(whole_block<Bits>(w, row, b, filled), bytes);
                for (std::size_t j = 0; j < 4; j += 2) {
                    square[i][j] = Bits == 8 ? bytes[j] : vzip1q_s8(bytes[j], bytes[j + 1]);
                    square[i][j + 1] = Bits == 8 ? bytes[j + 1] : vzip2q_s8(bytes[j], bytes[j + 1]);
                }
                scales[r + i] = there ? scale_of(w, row, b) : 0;
            }
            for (std::size_t j = 0; j < 4; ++j) {
                auto const words = [&](std::size_t i) GOLDFINCH_LAMBDA_INLINE { return vreinterpretq_s32_s8(square[i][j]); };
                auto const put = [&](std::size_t k, int32x4_t a, int32x4_t c, bool second) GOLDFINCH_LAMBDA_INLINE {
                    int64x2_t const x = vreinterpretq_s64_s32(a), z = vreinterpretq_s64_s32(c);
                    vst1q_s8(to + ((4 * j + k) * dotprod_rows + r) * 4, vreinterpretq_s8_s64(second ? vtrn2q_s64(x, z) : vtrn1q_s64(x, z)));
                };
                int32x4_t const a = vtrn1q_s32(words(0), words(1)), c = vtrn1q_s32(words(2), words(3));
                int32x4_t const a2 = vtrn2q_s32(words(0), words(1)), c2 = vtrn2q_s32(words(2), words(3));
                put(0, a, c, false);
                put(1, a2, c2, false);
                put(2, a, c, true);
                put(3, a2, c2, true);
            }
        }
}

/// The i-th of four: bytes 4 i to 4 i + 3 of all rows, those of one place side by side.
GOLDFINCH_INLINE void interleave_rows(int8x16_t const (&row)[4], int8x16_t (&to)[4]) {
    int16x8_t const low[2] = {vreinterpretq_s16_s8(vzip1q_s8(row[0], row[1])), vreinterpretq_s16_s8(vzip1q_s8(row[2], row[3]))};
    int16x8_t const high[2] = {vreinterpretq_s16_s8(vzip2q_s8(row[0], row[1])), vreinterpretq_s16_s8(vzip2q_s8(row[2], row[3]))};
    to[0] = vreinterpretq_s8_s16(vzip1q_s16(low[0], low[1])), to[1] = vreinterpretq_s8_s16(vzip2q_s16(low[0], low[1]));
    to[2] = vreinterpretq_s8_s16(vzip1q_s16(high[0], high[1])), to[3] = vreinterpretq_s8_s16(vzip2q_s16(high[0], high[1]));
}

template <std::size_t Bits>
void transpose_weights(transposed_packed_matrix const& w, std::size_t first, std::size_t rows_there, std::size_t blocks, std::int8_t* to, float* scales) {
    constexpr std::size_t size = dotprod_rows * Bits / 8;
    for (std::size_t b = 0; b < blocks; ++b, scales += dotprod_rows) {
        for (std::size_t k = b * 64; k < (b + 1) * 64; k += 4, to += dotprod_rows * 4) {
            int8x16_t row[4], four[4];
            for (std::size_t i = 0; i < 4; ++i) {
                std::byte filled[16] = {};
                if (k + i < w.columns) copy(w.packed(k + i) + first * Bits / 8, min(size, ceil_div(rows_there * Bits, 8)), filled);
                int8x16_t const bytes = veorq_s8(load_bytes(filled), vdupq_n_s8(Bits == 8 ? -128 : -120));
                row[i] = Bits == 8 ? bytes : vzip1q_s8(vshlq_n_s8(bytes, 4), vandq_s8(bytes, vdupq_n_s8(-16)));
            }
            interleave_rows(row, four);
            for (std::size_t i = 0; i < 4; ++i) vst1q_s8(to + 16 * i, four[i]);
        }
        for (std::size_t r = 0; r < dotprod_rows; r += lanes) store(scales + r, r < rows_there ? w.scales(b, first + r, rows_there - r) : broadcast(0));
    }
}

/// s [Tokens, V] += four columns of each row w [V] times those of x [Tokens], which are its Part-th four.
template <int Part, std::size_t Tokens, std::size_t V>
GOLDFINCH_INLINE void add_columns(std::int8_t const* w, int8x16_t const* x, int32x4_t* s) {
    int8x16_t row[V];
    GOLDFINCH_UNROLL
    for (std::size_t v = 0; v < V; ++v) row[v] = vld1q_s8(w + Part * static_cast<int>(dotprod_rows) * 4 + 16 * v);
    GOLDFINCH_UNROLL
    for (std::size_t t = 0; t < Tokens; ++t) {
        GOLDFINCH_UNROLL
        for (std::size_t v = 0; v < V; ++v) s[t * V + v] = vdotq_laneq_s32(s[t * V + v], row[v], x[t], Part);
    }
}

/// y [Tokens, n] for up to dotprod_rows transposed rows, x [Tokens, blocks]. Each sum runs over the blocks in order.
template <std::size_t Bits, std::size_t Tokens>
void rounded_tile(std::int8_t const* w, float const* scales, rounded_block const* x, std::size_t blocks, float* y, std::size_t y_stride, std::size_t n) {
    constexpr std::size_t V = dotprod_rows / 4;
    vec sums[Tokens * V];
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < Tokens * V; ++i) sums[i] = broadcast(0);
    for (std::size_t b = 0; b < blocks; ++b, w += 64 * dotprod_rows, scales += dotprod_rows) {
        int32x4_t s[Tokens * V];
        GOLDFINCH_UNROLL
        for (std::size_t i = 0; i < Tokens * V; ++i) s[i] = vdupq_n_s32(0);
        auto const add = [&](bool low) GOLDFINCH_LAMBDA_INLINE {
            for (std::size_t k = 0; k < 64; k += 16) {
                int8x16_t q[Tokens];
                GOLDFINCH_UNROLL
                for (std::size_t t = 0; t < Tokens; ++t) {
                    rounded_block const& of = x[t * blocks + b];
                    q[t] = vld1q_s8((low ? of.low : of.high) + k);
                }
                std::int8_t const* const columns = w + k * dotprod_rows;
                add_columns<0, Tokens, V>(columns, q, s);
                add_columns<1, Tokens, V>(columns, q, s);
                add_columns<2, Tokens, V>(columns, q, s);
                add_columns<3, Tokens, V>(columns, q, s);
            }
        };
        add(false);
        GOLDFINCH_UNROLL
        for (std::size_t i = 0; i < Tokens * V; ++i) s[i] = vshlq_n_s32(s[i], 8);
        add(true);
        GOLDFINCH_UNROLL
        for (std::size_t i = 0; i < Tokens * V; ++i) {
            vec const scale = load(scales + i % V * lanes) * broadcast(x[i / V * blocks + b].scale);
            sums[i] = multiply_add(vec(vcvtq_f32_s32(s[i])), scale, sums[i]);
        }
    }
    for (std::size_t i = 0; i < Tokens * V; ++i)
        if (i % V * lanes < n) store(y + i / V * y_stride + i % V * lanes, sums[i] * broadcast(signed_unit<Bits>), n - i % V * lanes);
}

/// y_t = w x_t for x rounded [tokens, blocks], for many tokens; the sums are those of `rounded_dots`.
template <std::size_t Bits, class Matrix>
void rounded_many(cpu_executor const& at, Matrix const& w, rounded_block const* x, std::size_t blocks, rows<float> y) {
    std::size_t const out = y.width;
    parallel(at, ceil_div(out, dotprod_rows), [=](cpu_executor const& alone, std::size_t task) {
        std::size_t const first = task * dotprod_rows, n = min(dotprod_rows, out - first);
        temporaries local(alone);
        auto* const transposed = local.array<std::int8_t>(blocks * 64 * dotprod_rows);
        auto* const scales = local.array<float>(blocks * dotprod_rows);
        transpose_weights<Bits>(w, first, n, blocks, transposed, scales);
        std::size_t t = 0;
        for (; t + 4 <= y.size; t += 4) rounded_tile<Bits, 4>(transposed, scales, x + t * blocks, blocks, y[t] + first, y.stride, n);
        for (; t < y.size; ++t) rounded_tile<Bits, 1>(transposed, scales, x + t * blocks, blocks, y[t] + first, y.stride, n);
    });
}

/// y_t = w x_t, x rounded.
template <std::size_t Bits, class Matrix>
void dotprod_product(cpu_executor const& at, Matrix const& w, rows<float const> x, rows<float> y) {
    constexpr std::size_t at_once = 512;  // bounds the rounded copy of x
    std::size_t const blocks = ceil_div(w.columns, rounded_block::columns);
    for (std::size_t first = 0; first < x.size; first += at_once) {
        std::size_t const tokens = min(at_once, x.size - first);
        constexpr bool by_rows = std::is_same_v<Matrix, packed_matrix>;
        bool const few = by_rows && tokens < dotprod_tokens;
        temporaries memory(at);
        auto* const rounded = memory.array<rounded_block>(tokens * blocks);
        parallel(threads_for(at, tokens * w.columns), tokens, [=](cpu_executor const&, std::size_t t) {
            for (std::size_t b = 0; b < blocks; ++b) {
                std::size_t const begin = b * rounded_block::columns;
                auto const round = few && Bits == 4 ? round_block<true> : round_block<false>;
                round(x[first + t] + begin, w.columns - begin, rounded[t * blocks + b]);
            }
        });
        rows<float> const to{y[first], tokens, y.stride, y.width};
        if constexpr (by_rows)
            if (few) {
                rounded_few<Bits>(at, w, rounded, blocks, to);
                continue;
            }
        rounded_many<Bits>(at, w, rounded, blocks, to);
    }
}

}  // namespace kernel
}  // namespace GOLDFINCH_TARGET
}  // namespace goldfinch

#endif
