// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <goldfinch/compiled_for.hpp>

#if GOLDFINCH_AVX512_VNNI

#include <cstddef>
#include <cstdint>

#include <goldfinch/backend/simd/kernels/integers.hpp>
#include <goldfinch/backend/simd/kernels/linear.hpp>
#include <goldfinch/backend/simd/kernels/tile.hpp>

// Products of packed integers with activations rounded to 16 bits, in integer arithmetic (VNNI): bytes of weights u times the high and the low bytes
// of q = 256 high + low, where x = q * scale in each block of 64.
//
//     sum (u - zero) x  =  scale * ((sum u high) * 256  +  sum u low  -  zero * sum q)
//
// Where x is in one part, not in two, the low bytes are left out, which takes half the time. The sums of a block are exact in 32 bits. 4-bit weights
// are two to a byte, so that even columns and odd ones are multiplied apart.

namespace goldfinch {
inline namespace GOLDFINCH_TARGET {
namespace kernel {

/// q of a block of x, of which there are n elements and then zeros. Returns the scale: NaN where x is not finite.
inline float round_block(float const* x, std::size_t n, std::int8_t* high, std::int8_t* low) {
    constexpr std::size_t vectors = detail::quantized_block / 16;
    constexpr float largest_q = 127 * 256 + 127;
    vec v[vectors];
    __m512i most = _mm512_setzero_si512();
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < vectors; ++i) {
        v[i] = i * lanes < n ? load(x + i * lanes, n - i * lanes) : broadcast(0);
        most = _mm512_max_epi32(most, _mm512_and_si512(_mm512_castps_si512(v[i]), _mm512_set1_epi32(0x7fffffff)));
    }
    int const bits = _mm512_reduce_max_epi32(most);  // of magnitudes, which are in the order of their bits
    bool const finite = bits < 0x7f800000, usable = finite && bits > 0x00ffffff;  // not so small that the inverse is infinite
    float const magnitude = detail::bits_as<float>(static_cast<std::uint32_t>(bits));
    vec const inverse = broadcast(usable ? largest_q / magnitude : 0);
    GOLDFINCH_UNROLL
    for (std::size_t i = 0; i < vectors; ++i) {
        __m512i const q = _mm512_maskz_cvtps_epi32(static_cast<__mmask16>(usable ? 0xffff : 0), v[i] * inverse);
        __m512i const h = _mm512_srai_epi32(_mm512_add_epi32(q, _mm512_set1_epi32(128)), 8);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(high) + i, _mm512_cvtepi32_epi8(h));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(low) + i, _mm512_cvtepi32_epi8(_mm512_sub_epi32(q, _mm512_slli_epi32(h, 8))));
    }
    return usable ? magnitude / largest_q : finite ? 0 : detail::bits_as<float>(0x7fc00000u);
}

/// -zero * sum q of each lane's columns; in one part, of q / 256.
template <std::size_t Bits, std::size_t Parts = 2>
__m512i offset_of(std::int8_t const* high, std::int8_t const* low) {
    __m512i const zero = _mm512_set1_epi8(Bits == 8 ? -128 : 8);  // as an unsigned byte
    __m512i const h = _mm512_dpbusd_epi32(_mm512_setzero_si512(), zero, _mm512_loadu_si512(high));
    if constexpr (Parts == 1) return _mm512_sub_epi32(_mm512_setzero_si512(), h);
    __m512i const l = _mm512_dpbusd_epi32(_mm512_setzero_si512(), zero, _mm512_loadu_si512(low));
    return _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_add_epi32(_mm512_slli_epi32(h, 8), l));
}

/// Activations rounded to 16 bits, of four blocks of columns: of `vectors` vectors of packed weights.
template <std::size_t Bits>
struct rounded_blocks {
    static constexpr std::size_t blocks = 4, columns = blocks * detail::quantized_block, vectors = columns * Bits / 8 / 64, parts = 8 / Bits;  // of a byte
    alignas(alignment) std::int8_t high[vectors][parts][64];  // the bytes that meet the lowest bits of a byte of weights, then the highest
    std::int8_t low[vectors][parts][64];
    std::int32_t offset[16];  // -zero * sum q, of a block in a quarter
    float scale[16];          // likewise
};

/// Rounds a row of x; the last blocks are filled up with zeros.
template <std::size_t Bits>
void round_row(float const* x, std::size_t n, rounded_blocks<Bits>* to) {
    constexpr std::size_t block = detail::quantized_block, blocks = rounded_blocks<Bits>::blocks, blocks_a_vector = blocks / rounded_blocks<Bits>::vectors;
    for (std::size_t first = 0; first < n; first += rounded_blocks<Bits>::columns, ++to)
        for (std::size_t b = 0; b < blocks; ++b) {
            std::size_t const begin = min(n, first + b * block);
            alignas(alignment) std::int8_t bytes[2][block];
            float const scale = round_block(x + begin, n - begin, bytes[0], bytes[1]);
            std::int32_t const offset = _mm512_reduce_add_epi32(offset_of<Bits>(bytes[0], bytes[1]));
            _mm_store_ps(to->scale + 4 * b, _mm_set1_ps(scale));
            _mm_store_si128(reinterpret_cast<__m128i*>(to->offset + 4 * b), _mm_set1_epi32(offset));
            for (std::size_t k = 0; k < 2; ++k) {
                auto* const parts = (k == 0 ? to->high : to->low)[b / blocks_a_vector];
                if constexpr (Bits == 8) {
                    copy(bytes[k], block, parts[0]);
                } else {
                    for (std::size_t i = 0; i < block; i += 16) {
                        __m128i const all = _mm_loadu_si128(reinterpret_cast<__m128i const*>(bytes[k] + i));
                        __m128i const apart = _mm_shuffle_epi8(all, _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15));
                        std::size_t const at = (b % blocks_a_vector * block + i) / 2;
                        _mm_storel_epi64(reinterpret_cast<__m128i*>(parts[0] + at), apart);
                        _mm_storel_epi64(reinterpret_cast<__m128i*>(parts[1] + at), _mm_unpackhi_epi64(apart, apart));
                    }
                }
            }
        }
}

/// x in a register: compilers would load it again for every instruction that takes it, and loads are what bounds these loops.
GOLDFINCH_INLINE __m512i in_register(__m512i x) {
    asm("" : "+v"(x));
    return x;
}

/// In each quarter of a vector, the sums of this quarter of a, b, c and d.
GOLDFINCH_INLINE __m512i sums_by_quarters(__m512i a, __m512i b, __m512i c, __m512i d) {
    auto const pairs = [](__m512i x, __m512i y) GOLDFINCH_LAMBDA_INLINE { return _mm512_add_epi32(_mm512_unpacklo_epi32(x, y), _mm512_unpackhi_epi32(x, y)); };
    __m512i const ab = pairs(a, b), cd = pairs(c, d);
    return _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
}

/// Every second quarter of a and then b, plus its neighbour.
GOLDFINCH_INLINE __m512i join_quarters(__m512i a, __m512i b) { return _mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd)); }

/// The scales of four rows, of some blocks at a time: [block][row].
class scales_of_rows {
public:
    static constexpr std::size_t blocks = 32;

    /// Those at p and behind, of which `bytes` are there.
    GOLDFINCH_INLINE void load(std::byte const* const (&p)[4], std::size_t bytes) {
        __mmask64 const there = bytes >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bytes) - 1;
        __m512i row[4];
        GOLDFINCH_UNROLL
        for (std::size_t r = 0; r < 4; ++r) row[r] = _mm512_maskz_loadu_epi8(there, p[r]);
        __m512i const low[2] = {_mm512_unpacklo_epi16(row[0], row[1]), _mm512_unpacklo_epi16(row[2], row[3])};
        __m512i const high[2] = {_mm512_unpackhi_epi16(row[0], row[1]), _mm512_unpackhi_epi16(row[2], row[3])};
        _mm512_store_si512(pairs_[0], _mm512_unpacklo_epi32(low[0], low[1]));
        _mm512_store_si512(pairs_[1], _mm512_unpackhi_epi32(low[0], low[1]));
        _mm512_store_si512(pairs_[2], _mm512_unpacklo_epi32(high[0], high[1]));
        _mm512_store_si512(pairs_[3], _mm512_unpackhi_epi32(high[0], high[1]));
    }
    /// Those of four blocks from `block` on, a block in a quarter.
    GOLDFINCH_INLINE vec four(std::size_t block) const {
        std::size_t const first = block / 4 % 2 * 2, at = block / 8 * 16;
        __m128i const two = _mm_load_si128(reinterpret_cast<__m128i const*>(pairs_[first] + at));
        __m128i const others = _mm_load_si128(reinterpret_cast<__m128i const*>(pairs_[first + 1] + at));
        return vec(_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_set_m128i(others, two)), 16)));
    }

private:
    alignas(alignment) std::byte pairs_[4][64];  // blocks 8 i and 8 i + 1 in the i-th quarter of the first, the next two in that of the second, ...
};

/// The sum of the quarters.
GOLDFINCH_INLINE __m128 sum_of_quarters(__m512 x) {
    __m256 const two = _mm256_add_ps(_mm512_castps512_ps256(x), _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x), 1)));
    return _mm_add_ps(_mm256_castps256_ps128(two), _mm256_extractf128_ps(two, 1));
}

/// Tokens up to which lanes are columns; for more, transposing weights pays. AMD's processors shuffle twice as fast as Intel's, to their multiplications.
inline std::size_t most_vnni_tokens() { return is_amd() ? few_rows : 5; }

/// y [tokens, n] = x w^T for n rows of w from `row` on, at most 4, where x [tokens, chunks] are at most few_rows; Single: one. Every fourth block goes into one
/// sum, in order, and the four sums are added last. Scales of rows are asked for `rows_ahead` ahead.
template <std::size_t Bits, bool Single>
void rounded_dots(packed_matrix const& w, std::size_t row, std::size_t n, std::size_t rows_ahead, rounded_blocks<Bits> const* x, std::size_t chunks,
                  std::size_t tokens, float* y, std::size_t y_stride) {
    constexpr std::size_t V = rounded_blocks<Bits>::vectors, P = rounded_blocks<Bits>::parts, blocks = rounded_blocks<Bits>::blocks;
    std::byte const *packed[4], *scale[4];
    GOLDFINCH_UNROLL
    for (std::size_t r = 0; r < 4; ++r) packed[r] = w.packed(row + min(r, n - 1)), scale[r] = w.scale(row + min(r, n - 1));
    for (std::size_t at = 0; at < 4 * w.scale_bytes; at += 64) prefetch_ahead(scale[0] + at, 4 * w.scale_bytes, rows_ahead * w.scale_bytes);
    vec sum_of_one = broadcast(0);
    alignas(alignment) float sums[Single ? 1 : few_rows][16];
    if constexpr (!Single)
        for (std::size_t t = 0; t < tokens; ++t) store(sums[t], broadcast(0));
    scales_of_rows scales;
    auto const add_chunk = [&](std::size_t c, auto const& load_words) GOLDFINCH_LAMBDA_INLINE {
        __m512i words[V][4][P];
        GOLDFINCH_UNROLL
        for (std::size_t i = 0; i < V * 4; ++i) {
            std::size_t const v = i / 4, r = i % 4, at = (c * V + v) * 64;
            words[v][r][0] = in_register(load_words(packed[r], at));
            prefetch_weights(packed[r] + at);
            if constexpr (P == 2) {
                __m512i const nibble = _mm512_set1_epi8(0x0f);
                words[v][r][1] = _mm512_and_si512(_mm512_srli_epi16(words[v][r][0], 4), nibble);
                words[v][r][0] = _mm512_and_si512(words[v][r][0], nibble);
            }
        }
        std::size_t const block = c * blocks % scales_of_rows::blocks;
        if (block == 0) {
            std::byte const* const from[4] = {scale[0] + c * 2 * blocks, scale[1] + c * 2 * blocks, scale[2] + c * 2 * blocks, scale[3] + c * 2 * blocks};
            scales.load(from, w.scale_bytes - c * 2 * blocks);
        }
        vec const of_rows = scales.four(block);
        for (std::size_t t = 0; t < (Single ? 1 : tokens); ++t) {
            rounded_blocks<Bits> const& of = x[t * chunks + c];
            __m512i quarters[V];
            GOLDFINCH_UNROLL
            for (std::size_t v = 0; v < V; ++v) {
                __m512i s[4];
                auto const add = [&](std::size_t r, __m512i sum, __m512i const (&bytes)[P]) GOLDFINCH_LAMBDA_INLINE {
                    GOLDFINCH_UNROLL
                    for (std::size_t p = 0; p < P; ++p) sum = _mm512_dpbusd_epi32(sum, words[v][r][p], bytes[p]);
                    return sum;
                };
                __m512i bytes[P];
                GOLDFINCH_UNROLL
                for (std::size_t p = 0; p < P; ++p) bytes[p] = in_register(_mm512_load_si512(of.high[v][p]));
                GOLDFINCH_UNROLL
                for (std::size_t r = 0; r < 4; ++r) s[r] = add(r, _mm512_setzero_si512(), bytes);
                GOLDFINCH_UNROLL
                for (std::size_t p = 0; p < P; ++p) bytes[p] = in_register(_mm512_load_si512(of.low[v][p]));
                GOLDFINCH_UNROLL
                for (std::size_t r = 0; r < 4; ++r) s[r] = add(r, _mm512_slli_epi32(s[r], 8), bytes);
                quarters[v] = sums_by_quarters(s[0], s[1], s[2], s[3]);
            }
            // A block in a quarter, a row in a lane.
            __m512i total = V == 4 ? join_quarters(join_quarters(quarters[0], quarters[1]), join_quarters(quarters[V - 2], quarters[V - 1]))
                                   : join_quarters(quarters[0], quarters[1]);
            total = _mm512_add_epi32(total, _mm512_load_si512(of.offset));
            vec const number(_mm512_cvtepi32_ps(total)), of_both = of_rows * kernel::load(of.scale);
            if constexpr (Single)
                sum_of_one = multiply_add(number, of_both, sum_of_one);
            else
                store(sums[t], multiply_add(number, of_both, kernel::load(sums[t])));
        }
    };
    std::size_t const whole = w.columns / rounded_blocks<Bits>::columns;
    for (std::size_t c = 0; c < whole; ++c)
        add_chunk(c, [](std::byte const* p, std::size_t at) GOLDFINCH_LAMBDA_INLINE { return _mm512_loadu_si512(p + at); });
    if (whole < chunks)
        add_chunk(whole, [&](std::byte const* p, std::size_t at) GOLDFINCH_LAMBDA_INLINE {
            std::size_t const left = w.row_bytes > at ? min(64, w.row_bytes - at) : 0;
            return left == 0 ? _mm512_setzero_si512() : _mm512_maskz_loadu_epi8(~std::uint64_t{0} >> (64 - left), p + at);
        });
    for (std::size_t t = 0; t < tokens; ++t) {
        __m128 const four = sum_of_quarters(Single ? sum_of_one : kernel::load(sums[t]));
        if (n == 4) {
            _mm_storeu_ps(y + t * y_stride, four);
        } else {
            alignas(16) float totals[4];
            _mm_store_ps(totals, four);
            copy(totals, n, y + t * y_stride);
        }
    }
}

/// y_t = w x_t for few tokens, x rounded.
template <std::size_t Bits>
void rounded_few(cpu_executor const& at, packed_matrix const& w, rows<float const> x, rows<float> y) {
    constexpr std::size_t rows_at_once = 4;
    std::size_t const out = y.width, chunks = ceil_div(w.columns, rounded_blocks<Bits>::columns);
    temporaries memory(at);
    auto* const rounded = memory.array<rounded_blocks<Bits>>(x.size * chunks);
    parallel(threads_for(at, x.size * w.columns), x.size, [=](cpu_executor const&, std::size_t t) { round_row<Bits>(x[t], w.columns, rounded + t * chunks); });
    std::size_t const run = ceil_div(max(1, 65536 / max(1, w.row_bytes)), rows_at_once) * rows_at_once;
    std::size_t const rows_ahead = weights_ahead_l2 / max(1, w.row_bytes);
    auto const dots = x.size == 1 ? rounded_dots<Bits, true> : rounded_dots<Bits, false>;
    parallel(at, ceil_div(out, run), [=](cpu_executor const&, std::size_t task) {
        for (std::size_t r = task * run, last = min(out, r + run); r < last; r += rows_at_once)
            dots(w, r, min(rows_at_once, last - r), rows_ahead, rounded, chunks, x.size, y.data + r, y.stride);
    });
}

}  // namespace kernel
}  // namespace GOLDFINCH_TARGET
}  // namespace goldfinch

#endif
