// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include <goldfinch/backend/simd/kernels/integers.hpp>
#include <goldfinch/backend/simd/kernels/quantized.hpp>
#include <goldfinch/backend/simd/kernels/sparse.hpp>

// Products of packed integers whose x is often zero, with weights stored by inputs (transposed_packed_matrix): with few tokens the inputs that are
// zero are not read. Where there are instructions for bytes, x is rounded to 16 bits in each block of 64 inputs, as in vnni.hpp and dotprod.hpp: four
// inputs that are not zero meet in the lanes of their outputs, wherever in the block they are.

namespace goldfinch {
inline namespace GOLDFINCH_TARGET {
namespace kernel {

#if GOLDFINCH_AVX512_VNNI

/// Vectors of bytes, and how four of them make products of four columns in a lane. Weights are without sign: `zero` stands for 0.
struct byte_dots {
    using bytes = __m512i;
    using sums = __m512i;
    static constexpr std::size_t width = 64;
    template <std::size_t Bits>
    static constexpr int zero = 1 << (Bits - 1);
    template <std::size_t Bits>
    static constexpr float unit = 1;

    GOLDFINCH_INLINE static bytes load(std::byte const* p, std::size_t n) {
        return n >= width ? in_register(_mm512_loadu_si512(p)) : _mm512_maskz_loadu_epi8((std::uint64_t{1} << n) - 1, p);
    }
    /// The i-th of four: bytes 4 i to 4 i + 3 of each quarter of all rows, those of one place side by side.
    GOLDFINCH_INLINE static void interleave(bytes const (&row)[4], bytes (&to)[4]) {
        bytes const low[2] = {_mm512_unpacklo_epi8(row[0], row[1]), _mm512_unpacklo_epi8(row[2], row[3])};
        bytes const high[2] = {_mm512_unpackhi_epi8(row[0], row[1]), _mm512_unpackhi_epi8(row[2], row[3])};
        to[0] = _mm512_unpacklo_epi16(low[0], low[1]), to[1] = _mm512_unpackhi_epi16(low[0], low[1]);
        to[2] = _mm512_unpacklo_epi16(high[0], high[1]), to[3] = _mm512_unpackhi_epi16(high[0], high[1]);
    }
    /// Where in a vector of rows the byte of a lane of the i-th is.
    static constexpr std::size_t place(std::size_t i, std::size_t lane) { return lane / 4 * 16 + 4 * i + lane % 4; }
    template <std::size_t Bits>
    GOLDFINCH_INLINE static bytes integers_of(bytes x, std::size_t part) {
        if constexpr (Bits == 8) return x;
        return _mm512_and_si512(part == 0 ? x : _mm512_srli_epi16(x, 4), _mm512_set1_epi8(0x0f));
    }
    GOLDFINCH_INLINE static sums nothing() { return _mm512_setzero_si512(); }
    GOLDFINCH_INLINE static sums add(sums s, bytes w, std::int32_t const* x) { return _mm512_dpbusd_epi32(s, w, _mm512_set1_epi32(*x)); }
    GOLDFINCH_INLINE static vec total(sums high, sums low, std::int32_t offset) {
        return vec(_mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_add_epi32(_mm512_slli_epi32(high, 8), low), _mm512_set1_epi32(offset))));
    }
    /// The scales of a vector of bytes' outputs, of which n are at p, in the order of lanes.
    template <std::size_t Bits>
    GOLDFINCH_INLINE static void load_scales(std::byte const* p, std::size_t n, vec* to) {
        constexpr std::size_t vectors = 16 / Bits;
        __m512i from[vectors];
        GOLDFINCH_UNROLL
        for (std::size_t i = 0; i < vectors; ++i) from[i] = load(p + 64 * i, 2 * n > 64 * i ? 2 * n - 64 * i : 0);
        if constexpr (Bits == 8) {
            // 16-bit words to the upper halves of lanes: word 16 (lane / 4) + lane % 4, and 4 more for each vector.
            __m512i const first = _mm512_setr_epi32(0, 1 << 16, 2 << 16, 3 << 16, 16 << 16, 17 << 16, 18 << 16, 19 << 16, 32 << 16, 33 << 16,
                                                    34 << 16, 35 << 16, 48 << 16, 49 << 16, 50 << 16, 51 << 16);
            GOLDFINCH_UNROLL
            for (int i = 0; i < 4; ++i)
                to[i] = vec(_mm512_castsi512_ps(_mm512_maskz_permutex2var_epi16(
                    0xaaaaaaaau, from[0], _mm512_add_epi32(first, _mm512_set1_epi32(4 * i << 16)), from[vectors - 1])));
        } else {  // lanes are pairs of outputs; the i-th quarters of all
            __m512i const a = _mm512_shuffle_i32x4(from[0], from[1], 0x44), b = _mm512_shuffle_i32x4(from[0], from[1], 0xee);
            __m512i const c = _mm512_shuffle_i32x4(from[vectors - 2], from[vectors - 1], 0x44),
                          d = _mm512_shuffle_i32x4(from[vectors - 2], from[vectors - 1], 0xee);
            __m512i const quarters[4] = {_mm512_shuffle_i32x4(a, c, 0x88), _mm512_shuffle_i32x4(a, c, 0xdd), _mm512_shuffle_i32x4(b, d, 0x88),
                                         _mm512_shuffle_i32x4(b, d, 0xdd)};
            GOLDFINCH_UNROLL
            for (std::size_t i = 0; i < 4; ++i) {
                to[2 * i] = vec(_mm512_castsi512_ps(_mm512_slli_epi32(quarters[i], 16)));
                to[2 * i + 1] = vec(_mm512_castsi512_ps(_mm512_and_si512(quarters[i], _mm512_set1_epi32(-65536))));
            }
        }
    }
    static float round(float const* x, std::size_t n, std::int8_t* high, std::int8_t* low) { return round_block(x, n, high, low); }
};

#elif GOLDFINCH_NEON_DOTPROD

/// Vectors of bytes, and how four of them make products of four columns in a lane. Weights have their sign; 4-bit ones are in the highest bits of
/// their bytes.
struct byte_dots {
    using bytes = int8x16_t;
    using sums = int32x4_t;
    static constexpr std::size_t width = 16;
    template <std::size_t Bits>
    static constexpr int zero = 0;
    template <std::size_t Bits>
    static constexpr float unit = signed_unit<Bits>;

    GOLDFINCH_INLINE static bytes load(std::byte const* p, std::size_t n) {
        if (n >= width) return load_bytes(p);
        std::byte filled[width] = {};
        copy(p, n, filled);
        return load_bytes(filled);
    }
    /// The i-th of four: bytes 4 i to 4 i + 3 of all rows, those of one place side by side.
    GOLDFINCH_INLINE static void interleave(bytes const (&row)[4], bytes (&to)[4]) { interleave_rows(row, to); }
    /// Where in a vector of rows the byte of a lane of the i-th is.
    static constexpr std::size_t place(std::size_t i, std::size_t lane) { return 4 * i + lane; }
    template <std::size_t Bits>
    GOLDFINCH_INLINE static bytes integers_of(bytes x, std::size_t part) {
        bytes const with_sign = veorq_s8(x, vdupq_n_s8(Bits == 8 ? -128 : -120));
        if constexpr (Bits == 8) return with_sign;
        return part == 0 ? vshlq_n_s8(with_sign, 4) : vandq_s8(with_sign, vdupq_n_s8(-16));
    }
    GOLDFINCH_INLINE static sums nothing() { return vdupq_n_s32(0); }
    GOLDFINCH_INLINE static sums add(sums s, bytes w, std::int32_t const* x) { return vdotq_s32(s, w, vreinterpretq_s8_s32(vdupq_n_s32(*x))); }
    GOLDFINCH_INLINE static vec total(sums high, sums low, std::int32_t) { return vec(vcvtq_f32_s32(vaddq_s32(vshlq_n_s32(high, 8), low))); }
    /// The scales of a vector of bytes' outputs, of which n are at p, in the order of lanes.
    template <std::size_t Bits>
    GOLDFINCH_INLINE static void load_scales(std::byte const* p, std::size_t n, vec* to) {
        constexpr std::size_t outputs = width * 8 / Bits;
        std::uint16_t words[outputs] = {};
        __builtin_memcpy(words, p, 2 * min(n, outputs));
        GOLDFINCH_UNROLL
        for (std::size_t i = 0; i < outputs; i += 8) {
            uint16x8_t const eight = vld1q_u16(words + i);
            if constexpr (Bits == 8) {
                to[i / 4] = vec(vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(eight), 16)));
                to[i / 4 + 1] = vec(vreinterpretq_f32_u32(vshll_n_u16(vget_high_u16(eight), 16)));
            } else {
                uint32x4_t const pairs = vreinterpretq_u32_u16(eight);
                to[i / 4] = vec(vreinterpretq_f32_u32(vshlq_n_u32(pairs, 16)));
                to[i / 4 + 1] = vec(vreinterpretq_f32_u32(vandq_u32(pairs, vdupq_n_u32(0xffff0000u))));
            }
        }
    }
    static float round(float const* x, std::size_t n, std::int8_t* high, std::int8_t* low) {
        rounded_block rounded;
        round_block<false>(x, n, rounded);
        copy(rounded.high, rounded_block::columns, high), copy(rounded.low, rounded_block::columns, low);
        return rounded.scale;
    }
};

#endif

#if GOLDFINCH_AVX512_VNNI || GOLDFINCH_NEON_DOTPROD

/// Activations rounded to 16 bits, of the inputs that are not zero for all tokens: four at a time. Each block has room for the groups of all its
/// inputs.
struct used_inputs {
    static constexpr std::size_t block = detail::quantized_block, most_groups = block / 4;
    struct of_block {
        float scale;
        std::int32_t offset;  // -zero * sum q
    };
    std::size_t tokens, blocks;
    std::size_t* groups;  // [blocks]: how many there are
    // [blocks, most_groups, 4]: where an input's row begins in memory; the last one is there again where a block ends within a group.
    std::size_t* begins;
    std::int32_t* fours;  // [blocks, most_groups, tokens, 2]: high bytes, low bytes; zeros of what is there again
    of_block* of_blocks;  // [blocks, tokens]

    used_inputs(temporaries& memory, std::size_t n_tokens, std::size_t inputs)
        : tokens(n_tokens),
          blocks(ceil_div(inputs, block)),
          groups(memory.array<std::size_t>(blocks)),
          begins(memory.array<std::size_t>(blocks * block)),
          fours(memory.array<std::int32_t>(blocks * most_groups * tokens * 2)),
          of_blocks(memory.array<of_block>(blocks * tokens)) {}

    /// Fills in block b of x, where in memory an input has row_bytes.
    template <std::size_t Bits>
    void find(std::size_t b, rows<float const> const& x, std::size_t row_bytes, std::int8_t* bytes) const {  // [tokens, 2, block]
        std::int8_t any[block] = {};
        for (std::size_t t = 0; t < tokens; ++t) {
            std::int8_t* const of = bytes + t * 2 * block;
            float const scale = byte_dots::round(x[t] + b * block, min(block, x.width - b * block), of, of + block);
            std::int32_t sum = 0;
            for (std::size_t k = 0; k < block; ++k) {
                sum += 256 * of[k] + of[block + k];
                any[k] |= of[k] | of[block + k];
            }
            of_blocks[b * tokens + t] = {scale, -byte_dots::zero<Bits> * sum};
        }
        std::uint8_t used[block + 1];
        std::size_t n = 0;
        for (std::size_t k = 0; k < block; ++k) {
            used[n] = static_cast<std::uint8_t>(k);
            n += any[k] != 0;
        }
        groups[b] = ceil_div(n, 4);
        for (std::size_t i = n; i < groups[b] * 4; ++i) used[i] = used[n - 1];
        std::size_t* const row = begins + b * block;
        for (std::size_t i = 0; i < groups[b] * 4; ++i) row[i] = (b * block + used[i]) * row_bytes;
        for (std::size_t part = 0; part < 2 * tokens; ++part) {
            std::int8_t* const of = bytes + part * block;
            std::int32_t* const to = fours + b * most_groups * tokens * 2 + part;
            for (std::size_t g = 0; g < groups[b]; ++g) {
                std::int8_t four[4];
                for (std::size_t i = 0; i < 4; ++i) four[i] = 4 * g + i < n ? of[used[4 * g + i]] : std::int8_t{0};
                __builtin_memcpy(to + g * 2 * tokens, four, 4);
            }
        }
    }
};

/// Asks for some bytes of the used rows, one row after another, as many lines at a time as are used meanwhile, and some rows ahead of block b.
class rows_ahead {
public:
    static constexpr std::size_t lines = 4 * byte_dots::width / 64;  // what a group of four rows takes
    rows_ahead(used_inputs const& used, std::size_t b, std::size_t ahead, std::byte const* from, std::size_t bytes)
        : used_(used), block_(b), row_(ahead), from_(from), bytes_(bytes) {
        find();
    }
    GOLDFINCH_INLINE void ask() {
        if (at_ + lines * 64 > bytes_) return ask_over_an_end();
        GOLDFINCH_UNROLL
        for (std::size_t i = 0; i < lines; ++i) prefetch_later(row_begin_ + at_ + 64 * i);
        at_ += lines * 64;
        if (at_ >= bytes_) next();
    }

private:
    GOLDFINCH_NOINLINE void ask_over_an_end() {
        for (std::size_t i = 0; i < lines && block_ < used_.blocks; ++i) {
            prefetch_later(row_begin_ + at_);
            at_ += 64;
            if (at_ >= bytes_) next();
        }
    }
    void next() {
        ++row_;
        find();
    }
    void find() {
        for (; block_ < used_.blocks && row_ >= used_.groups[block_] * 4; ++block_) row_ -= used_.groups[block_] * 4;
        if (block_ < used_.blocks)
            at_ = 0, row_begin_ = from_ + used_.begins[block_ * used_inputs::block + row_];
        else
            at_ = bytes_;  // of no row, nothing
    }

    used_inputs const& used_;
    std::size_t block_, row_;
    std::byte const *from_, *row_begin_ = nullptr;
    std::size_t bytes_, at_ = 0;
};

/// What a piece adds to sums [tokens, n] of outputs [first, first + n), which are in the order of lanes, whole vectors of bytes. Each sum runs over
/// the blocks in order.
template <std::size_t Bits>
void used_dots(transposed_packed_matrix const& w, used_inputs const& used, std::size_t piece, std::size_t first_output, std::size_t n, float* sums,
               std::size_t stride) {
    constexpr std::size_t P = 8 / Bits, V = 4 * P, at_once = byte_dots::width * P, blocks = piece_inputs / used_inputs::block;
    std::size_t const first_byte = first_output / P, bytes = min(n / P, w.row_bytes - first_byte), tokens = used.tokens;
    // Rows that are not all there come later than those in order: asking for them twice as far ahead is a tenth faster.
    rows_ahead ahead(used, piece * blocks, 2 * weights_ahead_l2 / max(1, bytes), w.at.packed + first_byte, bytes);
    for (std::size_t b = piece * blocks; b < min(used.blocks, (piece + 1) * blocks); ++b) {
        std::size_t const first = b * used_inputs::most_groups, count = used.groups[b];
        for (std::size_t s = 0; s < n / at_once; ++s) {
            std::size_t const at = s * byte_dots::width, output = first_output + s * at_once;
            std::byte const* const from = w.at.packed + first_byte + at;
            auto const load_group = [&](std::size_t g, byte_dots::bytes(&to)[V]) GOLDFINCH_LAMBDA_INLINE {
                byte_dots::bytes row[4], four[4];
                GOLDFINCH_UNROLL
                for (std::size_t i = 0; i < 4; ++i) {
                    row[i] = byte_dots::load(from + used.begins[g * 4 + i], bytes - at);
                    prefetch_line(from + 64 + used.begins[g * 4 + i]);
                }
                ahead.ask();
                byte_dots::interleave(row, four);
                GOLDFINCH_UNROLL
                for (std::size_t i = 0; i < V; ++i) to[i] = byte_dots::integers_of<Bits>(four[i / P], i % P);
            };
            vec scale[V];
            byte_dots::load_scales<Bits>(w.scale(b) + 2 * output, w.outputs - output, scale);
            byte_dots::sums high[V], low[V];
            auto const clear = [&]() GOLDFINCH_LAMBDA_INLINE {
                GOLDFINCH_UNROLL
                for (std::size_t i = 0; i < V; ++i) high[i] = low[i] = byte_dots::nothing();
            };
            auto const add = [&](byte_dots::bytes const(&u)[V], std::int32_t const* x) GOLDFINCH_LAMBDA_INLINE {
                GOLDFINCH_UNROLL
                for (std::size_t i = 0; i < V; ++i) high[i] = byte_dots::add(high[i], u[i], x), low[i] = byte_dots::add(low[i], u[i], x + 1);
            };
            auto const add_up = [&](std::size_t t) GOLDFINCH_LAMBDA_INLINE {
                used_inputs::of_block const& of = used.of_blocks[b * tokens + t];
                float* const to = sums + t * stride + s * at_once;
                GOLDFINCH_UNROLL
                for (std::size_t i = 0; i < V; ++i)
                    store(to + i * lanes,
                          multiply_add(byte_dots::total(high[i], low[i], of.offset), scale[i] * broadcast(of.scale), load(to + i * lanes)));
            };
            if (tokens == 1) {
                clear();
                for (std::size_t g = first; g < first + count; ++g) {
                    byte_dots::bytes u[V];
                    load_group(g, u);
                    add(u, used.fours + g * 2);
                }
                add_up(0);
            } else {
                byte_dots::bytes u[used_inputs::block / 4][V];
                for (std::size_t g = 0; g < count; ++g) load_group(first + g, u[g]);
                for (std::size_t t = 0; t < tokens; ++t) {
                    clear();
                    for (std::size_t g = 0; g < count; ++g) add(u[g], used.fours + ((first + g) * tokens + t) * 2);
                    add_up(t);
                }
            }
        }
    }
}

/// y_t = w x_t for few tokens, x rounded.
template <std::size_t Bits>
void sparse_packed_few(cpu_executor const& at, transposed_packed_matrix const& w, rows<float const> const& x, rows<float> const& y) {
    constexpr std::size_t P = 8 / Bits, at_once = byte_dots::width * P;
    temporaries memory(at);
    used_inputs const used(memory, x.size, x.width);
    parallel(threads_for(at, x.size * x.width * 8), used.blocks, [=](cpu_executor const& alone, std::size_t b) {
        temporaries local(alone);
        used.find<Bits>(b, x, w.row_bytes, local.array<std::int8_t>(2 * x.size * used_inputs::block));
    });
    auto const add = [=](std::size_t piece, std::size_t first, std::size_t n, float* sums, std::size_t stride) {
        used_dots<Bits>(w, used, piece, first, n, sums, stride);
    };
    sum_pieces(at, ceil_div(x.width, piece_inputs), x.size, ceil_div(y.width, at_once) * at_once, at_once, add,
               [=](std::size_t t, std::size_t first, std::size_t n, float const* sums) {
                   for (std::size_t i = 0; i < n; ++i) {
                       std::size_t const v = i / lanes % (4 * P), o = first + i / at_once * at_once + byte_dots::place(v / P, i % lanes) * P + v % P;
                       if (o < y.width) y[t][o] = sums[i] * byte_dots::unit<Bits>;
                   }
               });
}

#else

/// `lanes` integers of a row from byte p on, of which `bytes` are there, without their scales.
template <std::size_t Bits>
GOLDFINCH_INLINE vec load_integers(std::byte const* p, std::size_t bytes) {
    constexpr std::size_t size = lanes * Bits / 8;
    std::byte filled[size] = {};
    if (bytes < size) copy(p, bytes, filled), p = filled;
    if constexpr (in_registers<Bits>) {
        return integers<Bits>::in_order(p, 0);
    } else {
        alignas(alignment) float values[lanes];
        for (std::size_t i = 0; i < lanes; ++i)
            values[i] = static_cast<float>((static_cast<int>(p[i * Bits / 8]) >> (i * Bits % 8) & ((1 << Bits) - 1)) - (1 << (Bits - 1)));
        return load(values);
    }
}

/// y_t = w x_t for few tokens.
template <std::size_t Bits>
void sparse_packed_few(cpu_executor const& at, transposed_packed_matrix const& w, rows<float const> const& x, rows<float> const& y) {
    constexpr std::size_t block = detail::quantized_block, V = 4, at_once = V * lanes;
    std::size_t const in = x.width, out = y.width, tokens = x.size, blocks = ceil_div(in, block);
    temporaries memory(at);
    auto* const used = memory.array<std::uint32_t>(in);
    auto* const begin = memory.array<std::uint32_t>(blocks + 1);  // where a block's begin
    begin[0] = 0;
    for (std::size_t b = 0; b < blocks; ++b)
        begin[b + 1] = static_cast<std::uint32_t>(find_used(x, b * block, min(in, (b + 1) * block), used, begin[b]));
    auto const add = [=](std::size_t piece, std::size_t first, std::size_t n, float* sums, std::size_t stride) {
        constexpr std::size_t blocks_of_piece = piece_inputs / block;
        for (std::size_t b = piece * blocks_of_piece; b < min(blocks, (piece + 1) * blocks_of_piece); ++b)
            for (std::size_t o = 0; o < n; o += at_once)
                by_runs<tokens_at_once>(tokens, [&](auto some, std::size_t t) GOLDFINCH_LAMBDA_INLINE {
                    vec part[some.size * V];
                    GOLDFINCH_UNROLL
                    for (std::size_t j = 0; j < some.size * V; ++j) part[j] = broadcast(0);
                    for (std::size_t i = begin[b]; i < begin[b + 1]; ++i) {
                        GOLDFINCH_UNROLL
                        for (std::size_t v = 0; v < V; ++v) {
                            std::size_t const from = (first + o + v * lanes) * Bits / 8;
                            vec const value = load_integers<Bits>(w.packed(used[i]) + from, from < w.row_bytes ? w.row_bytes - from : 0);
                            GOLDFINCH_UNROLL
                            for (std::size_t j = 0; j < some.size; ++j)
                                part[j * V + v] = multiply_add(broadcast(x[t + j][used[i]]), value, part[j * V + v]);
                        }
                    }
                    GOLDFINCH_UNROLL
                    for (std::size_t v = 0; v < V; ++v) {
                        std::size_t const output = first + o + v * lanes;
                        if (output >= out) break;
                        vec const scale = w.scales(b, output, out - output);
                        GOLDFINCH_UNROLL
                        for (std::size_t j = 0; j < some.size; ++j) {
                            float* const to = sums + (t + j) * stride + o + v * lanes;
                            store(to, multiply_add(part[j * V + v], scale, load(to)));
                        }
                    }
                });
    };
    sum_pieces(at, ceil_div(in, piece_inputs), tokens, ceil_div(out, at_once) * at_once, at_once, add,
               [=](std::size_t t, std::size_t first, std::size_t n, float const* sums) { copy(sums, min(n, out - first), y[t] + first); });
}

/// to [columns, n] = the numbers of outputs [first, first + n), which begins with a whole byte.
template <std::size_t Bits>
void dequantize_outputs(cpu_executor const& at, transposed_packed_matrix const& w, std::size_t first, std::size_t n, float* to) {
    constexpr std::size_t block = detail::quantized_block;
    parallel(at, ceil_div(w.columns, block), [=](cpu_executor const&, std::size_t b) {
        for (std::size_t k = b * block; k < min(w.columns, (b + 1) * block); ++k)
            each_vector(n, [&](std::size_t i, std::size_t count) {
                std::size_t const from = (first + i) * Bits / 8;
                store(to + k * n + i, load_integers<Bits>(w.packed(k) + from, w.row_bytes - from) * w.scales(b, first + i, count), count);
            });
    });
}

#endif

/// y_t = w x_t for integers w of which the rows in memory are those of x.width inputs, y.width outputs each.
template <class T>
requires(packed_bits<T> != 0) void sparse_linear(cpu_executor const& at, detail::packed_rows rows_of_inputs, rows<float const> x, rows<float> y) {
    constexpr std::size_t bits = packed_bits<T>;
    std::size_t const out = y.width;
    transposed_packed_matrix const w{rows_of_inputs, x.width, out, ceil_div(out * bits, 8), 2 * out};
    if (x.size <= few_rows && !at.batch_invariant) return sparse_packed_few<bits>(at, w, x, y);
#if GOLDFINCH_AVX512_VNNI || GOLDFINCH_NEON_DOTPROD
    rounded_product<bits>(at, w, x, y);
#else
    // Some outputs at a time become floats in the cache, and are multiplied there.
    constexpr std::size_t most_floats = std::size_t{1} << 20;
    std::size_t const slab = max(tile_rows * 8, most_floats / max(1, w.columns) / 8 * 8);
    temporaries memory(at);
    float* const some = memory.array<float>(min(slab, out) * w.columns);
    for (std::size_t first = 0; first < out; first += slab) {
        std::size_t const n = min(slab, out - first);
        dequantize_outputs<bits>(at, w, first, n, some);
        kernel::sparse_linear<float>(at, some, x, rows<float>{y.data + first, y.size, y.stride, n});
    }
#endif
}

}  // namespace kernel
}  // namespace GOLDFINCH_TARGET
}  // namespace goldfinch
