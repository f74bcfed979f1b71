// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include <goldfinch/backend/simd/kernels/byte_dots.hpp>
#include <goldfinch/backend/simd/kernels/integers.hpp>
#include <goldfinch/backend/simd/kernels/quantized.hpp>
#include <goldfinch/backend/simd/kernels/sparse.hpp>

// Products of packed integers whose x is often zero, with weights stored by inputs (transposed_packed_matrix): with few tokens the inputs that are
// zero are not read. Where there are instructions for bytes, x is rounded to 16 bits in each block of 64 inputs, as in vnni.hpp and dotprod.hpp: four
// inputs that are not zero meet in the lanes of their outputs, wherever in the block they are.

namespace goldfinch {
inline namespace GOLDFINCH_TARGET {
namespace kernel {

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
