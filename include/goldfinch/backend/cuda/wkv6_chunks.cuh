// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include <goldfinch/backend/cuda/device.cuh>
#include <goldfinch/backend/cuda/kernels.hpp>
#include <goldfinch/backend/cuda/memory.hpp>
#include <goldfinch/backend/cuda/weights.cuh>
#include <goldfinch/compiler.hpp>

// The recurrence of RWKV-6 over many tokens, on tensor cores. Sequences are cut into chunks: the first kernel sums up what each chunk adds to the state, the
// second goes from chunk to chunk and leaves the state that each begins with, the third computes the outputs. A block has a chunk of a head and takes 16 tokens
// a step, with
//     y = A V + (R * decays before the token in the step) S,      S = (decays of the step) S + (K * decays after the token in the step)^T V,
// where A_ti = sum over channels of r_t k_i and the decays between i and t. Decays are products of the w between two tokens, of which none is above 1, never
// quotients: they underflow to zero where they should, and a w of 0 or 1 is exact. A is summed up in float32; in the other three products operands are split
// into parts in bf16, and sums are float32. Two parts leave out at most 2^-15 of a term; three, where weights are float, no more than float32 does. States stay
// float32.

namespace goldfinch::detail::device {

inline constexpr unsigned wkv_step = 16;   ///< tokens of a step: the depth of a product
inline constexpr unsigned wkv_chunk = 64;  ///< tokens of a chunk at least
inline constexpr unsigned wkv_ahead = 8;   ///< chunks whose sums the second kernel reads at once

/// Tokens of a chunk, in a sequence of n: at most 32 chunks, whose states then stay in an L2.
constexpr unsigned wkv_chunk_of(unsigned n) { return wkv_chunk * divide_up(n, 32 * wkv_chunk); }
constexpr unsigned wkv_chunks_of(unsigned n) { return divide_up(n, wkv_chunk_of(n)); }

template <class T>
inline constexpr unsigned wkv_parts = 2;  ///< of an operand, with weights of type T
template <>
inline constexpr unsigned wkv_parts<float> = 3;

/// A warp has 16 value channels and all key channels of the state, in registers.
template <unsigned N>
inline constexpr unsigned wkv_chunk_threads = 2 * N;

enum wkv_input : unsigned { wkv_k, wkv_v, wkv_w, wkv_r };

/// The first kernel needs no r.
template <unsigned inputs>
struct wkv_inputs {
    cuda_rows<float const> rows[inputs];
};

/// Sequences, and how many chunks those before each have.
struct wkv_sequences {
    cuda_sequences of;
    unsigned first_chunk[cuda_sequences::most] = {};

    /// The number of a chunk and head among all.
    __device__ std::size_t place(unsigned sequence, unsigned chunk, unsigned heads, unsigned head) const {
        return std::size_t{first_chunk[sequence] + chunk} * heads + head;
    }
};

/// The shared memory of a block. In an operand of products there are 8 elements between rows so that ldmatrix meets no bank twice; with 4 between the tokens'
/// neither do the fragments of v.
template <unsigned N, unsigned inputs, unsigned parts>
struct alignas(16) wkv_memory {
    float tokens[2][inputs][wkv_step][N + 4];   ///< of this step and the next
    std::uint16_t keys[parts][N][wkv_step + 8];  ///< k and the decays after it in the step, [key][token]
    float decays[N];                            ///< of the step
};
template <unsigned N, unsigned parts>
struct wkv_output_memory : wkv_memory<N, 4, parts> {
    std::uint16_t queries[parts][wkv_step][N + 8];       ///< r and the decays before it in the step
    std::uint16_t scores[parts][wkv_step][wkv_step + 8];  ///< A, [t][i]
};

/// Whether there are chunks for a head size: the fragments of the state fit in registers, and the rest in shared memory.
template <unsigned N, class T>
inline constexpr bool wkv_has_chunks = N % 16 == 0 && N <= 128 && sizeof(wkv_output_memory<N, wkv_parts<T>>) <= most_shared;

/// A fragment of numbers that are sums of parts in bf16, two in a word.
template <unsigned words, unsigned parts>
struct split_fragment {
    unsigned of[parts][words];

    __device__ void set(unsigned word, float a, float b) {
        GOLDFINCH_DEVICE_UNROLL
        for (auto& part : of) {
            part[word] = bf16_pair(a, b);
            a -= bits_as<float>(part[word] << 16), b -= bits_as<float>(part[word] & 0xffff0000u);
        }
    }
};

/// Puts the parts of a number into an operand in shared memory.
template <unsigned parts, unsigned rows, unsigned stride>
__device__ inline void store_split(std::uint16_t (&operand)[parts][rows][stride], unsigned row, unsigned column, float x) {
    GOLDFINCH_DEVICE_UNROLL
    for (auto& part : operand) {
        bf16 const rounded(x);
        part[row][column] = rounded.bits;
        x -= static_cast<float>(rounded);
    }
}

/// d += a b, but for the products of parts that are less than what the last part of a factor leaves out.
template <unsigned parts>
__device__ inline void split_mma(float (&d)[4], split_fragment<4, parts> const& a, split_fragment<2, parts> const& b) {
    GOLDFINCH_DEVICE_UNROLL
    for (unsigned order = parts; order-- > 0;)
        GOLDFINCH_DEVICE_UNROLL
        for (unsigned i = 0; i <= order; ++i) mma_m16n8k16(d, a.of[i], b.of[order - i]);
}

/// Two words of a fragment.
template <unsigned parts>
__device__ inline split_fragment<2, parts> words_of(split_fragment<4, parts> const& a, unsigned first, unsigned second) {
    split_fragment<2, parts> b;
    GOLDFINCH_DEVICE_UNROLL
    for (unsigned part = 0; part < parts; ++part) b.of[part][0] = a.of[part][first], b.of[part][1] = a.of[part][second];
    return b;
}

/// Four 8 by 8 matrices of an operand, of which the lane has the address of a row.
template <unsigned parts, unsigned rows, unsigned stride>
__device__ inline split_fragment<4, parts> load_split(std::uint16_t const (&operand)[parts][rows][stride], unsigned row, unsigned column) {
    split_fragment<4, parts> a;
    GOLDFINCH_DEVICE_UNROLL
    for (unsigned part = 0; part < parts; ++part) ldmatrix_x4(a.of[part], &operand[part][row][column]);
    return a;
}

/// Begins to copy a step's tokens of a head; of those that the sequence lacks, zeros.
template <unsigned N, unsigned inputs, unsigned parts>
__device__ inline void copy_tokens(wkv_memory<N, inputs, parts>& memory, wkv_inputs<inputs> const& x, unsigned step, unsigned first, unsigned end) {
    unsigned const c = threadIdx.x % (N / 4) * 4;
    GOLDFINCH_DEVICE_UNROLL
    for (unsigned input = 0; input < inputs; ++input)
        GOLDFINCH_DEVICE_UNROLL
        for (unsigned half = 0; half < 2; ++half) {
            unsigned const t = threadIdx.x / (N / 4) + half * wkv_step / 2, row = first + step * wkv_step + t;
            cp_async_16(&memory.tokens[step % 2][input][t][c], row < end ? x.rows[input][row] + blockIdx.y * N + c : x.rows[input].data, row < end);
        }
    cp_async_commit();
}

/// The step's keys and decays in a channel: the work of a thread. Of n tokens; others decay nothing.
template <unsigned N, unsigned inputs, unsigned parts>
__device__ inline void decay_keys(wkv_memory<N, inputs, parts>& memory, unsigned step, unsigned n, unsigned channel) {
    auto const& tokens = memory.tokens[step % 2];
    float decay = 1, keys[wkv_step];
    GOLDFINCH_DEVICE_UNROLL
    for (unsigned t = wkv_step; t-- > 0;) {
        keys[t] = tokens[wkv_k][t][channel] * decay;
        if (t < n) decay *= tokens[wkv_w][t][channel];
    }
    memory.decays[channel] = decay;
    split_fragment<wkv_step / 2, parts> pairs;
    GOLDFINCH_DEVICE_UNROLL
    for (unsigned i = 0; i < wkv_step / 2; ++i) pairs.set(i, keys[2 * i], keys[2 * i + 1]);
    GOLDFINCH_DEVICE_UNROLL
    for (unsigned part = 0; part < parts; ++part)
        GOLDFINCH_DEVICE_UNROLL
        for (unsigned i = 0; i < wkv_step / 2; i += 4) {
            unsigned const(&words)[wkv_step / 2] = pairs.of[part];
            *reinterpret_cast<uint4*>(&memory.keys[part][channel][2 * i]) = make_uint4(words[i], words[i + 1], words[i + 2], words[i + 3]);
        }
}

/// The step's queries in a channel, likewise.
template <unsigned N, unsigned parts>
__device__ inline void decay_queries(wkv_output_memory<N, parts>& memory, unsigned step, unsigned channel) {
    auto const& tokens = memory.tokens[step % 2];
    float decay = 1;
    GOLDFINCH_DEVICE_UNROLL
    for (unsigned t = 0; t < wkv_step; ++t) {
        store_split(memory.queries, t, channel, tokens[wkv_r][t][channel] * decay);
        decay *= tokens[wkv_w][t][channel];
    }
}

/// Neighbouring lanes that share the channels of a score: a power of 2 that divides N / 8.
template <unsigned N>
inline constexpr unsigned wkv_score_lanes = N / 8 & ~(N / 8 - 1);

__device__ inline float4 four_of(float const& x) { return *reinterpret_cast<float4 const*>(&x); }
__device__ inline float dot(float4 a, float4 b, float sum) { return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, sum)))); }
__device__ inline float4 multiply(float4 a, float4 b) { return make_float4(a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w); }

/// The scores of a step's tokens for one another, and for themselves by the bonus of the head, where there is one. Some lanes have the scores for a token.
template <unsigned N, unsigned parts, class T>
__device__ inline void score_tokens(wkv_output_memory<N, parts>& memory, unsigned step, T const* bonus) {
    constexpr unsigned lanes = wkv_score_lanes<N>;
    static_assert(lanes * wkv_step <= wkv_chunk_threads<N> && lanes * wkv_step % warp == 0);
    unsigned const i = threadIdx.x / lanes, lane = threadIdx.x % lanes;
    if (i >= wkv_step) return;
    auto const& tokens = memory.tokens[step % 2];
    float sums[wkv_step] = {};
    for (unsigned c = lane * 4; c < N; c += lanes * 4) {
        float4 key = four_of(tokens[wkv_k][i][c]);
        float u[4] = {};
        if (bonus != nullptr)
            for (unsigned j = 0; j < 4; ++j) u[j] = static_cast<float>(bonus[c + j]);
        float4 const own = multiply(key, make_float4(u[0], u[1], u[2], u[3]));
        GOLDFINCH_DEVICE_UNROLL
        for (unsigned t = 0; t < wkv_step; ++t)
            if (t >= i) {
                sums[t] = dot(four_of(tokens[wkv_r][t][c]), t == i ? own : key, sums[t]);
                if (t > i) key = multiply(key, four_of(tokens[wkv_w][t][c]));
            }
    }
    GOLDFINCH_DEVICE_UNROLL
    for (unsigned t = 0; t < wkv_step; ++t) {
        float const sum = sum_of_lanes<lanes>(sums[t]);
        if (t % lanes == lane) store_split(memory.scores, t, i, sum);
    }
}

/// The values of a step, [value][token], of a warp's channels: the first factor of what the state gets, and in halves of 8 channels the second of outputs.
template <unsigned N, unsigned inputs, unsigned parts>
__device__ inline split_fragment<4, parts> load_values(wkv_memory<N, inputs, parts> const& memory, unsigned step) {
    unsigned const lane = threadIdx.x % warp;
    split_fragment<4, parts> values;
    GOLDFINCH_DEVICE_UNROLL
    for (unsigned word = 0; word < 4; ++word) {
        unsigned const value = threadIdx.x / warp * 16 + lane / 4 + word % 2 * 8, t = lane % 4 * 2 + word / 2 * 8;
        values.set(word, memory.tokens[step % 2][wkv_v][t][value], memory.tokens[step % 2][wkv_v][t + 1][value]);
    }
    return values;
}

/// The step's decays and keys enter a warp's part of the state: 16 value channels by 8 key channels in each of the fragments.
template <unsigned N, unsigned inputs, unsigned parts>
__device__ inline void step_state(wkv_memory<N, inputs, parts> const& memory, split_fragment<4, parts> const& values, float (&state)[N / 8][4]) {
    unsigned const lane = threadIdx.x % warp;
    GOLDFINCH_DEVICE_UNROLL
    for (unsigned key = 0; key < N; key += 16) {
        auto const keys = load_split(memory.keys, key + lane / 16 * 8 + lane % 8, lane / 8 % 2 * 8);
        GOLDFINCH_DEVICE_UNROLL
        for (unsigned half = 0; half < 2; ++half) {
            auto& S = state[key / 8 + half];
            GOLDFINCH_DEVICE_UNROLL
            for (unsigned i = 0; i < 4; ++i) S[i] *= memory.decays[key + half * 8 + lane % 4 * 2 + i % 2];
            split_mma(S, values, words_of(keys, half * 2, half * 2 + 1));
        }
    }
}

/// f(element, fragment, i) for each element of a head's state [key][value] that the thread has, the i-th of a fragment.
template <unsigned N, class F>
__device__ inline void each_of_state(F const& f) {
    unsigned const lane = threadIdx.x % warp;
    GOLDFINCH_DEVICE_UNROLL
    for (unsigned fragment = 0; fragment < N / 8; ++fragment)
        GOLDFINCH_DEVICE_UNROLL
        for (unsigned i = 0; i < 4; ++i) f((fragment * 8 + lane % 4 * 2 + i % 2) * N + threadIdx.x / warp * 16 + lane / 4 + i / 2 * 8, fragment, i);
}

/// What a chunk adds to a state of zeros, and what it multiplies one by.
template <unsigned N, unsigned parts>
__global__ void __launch_bounds__(wkv_chunk_threads<N>) wkv6_sums_kernel(wkv_inputs<3> x, wkv_sequences sequences, float* sums, float* decays) {
    auto& memory = *shared_memory<wkv_memory<N, 3, parts>>();
    auto const& sequence = sequences.of.each[blockIdx.z];
    unsigned const chunk = wkv_chunk_of(sequence.end - sequence.first), first = sequence.first + blockIdx.x * chunk;
    if (first >= sequence.end) return;
    unsigned const end = smaller(first + chunk, sequence.end), steps = divide_up(end - first, wkv_step);
    float state[N / 8][4] = {}, decay = 1;
    copy_tokens(memory, x, 0, first, end);
    for (unsigned step = 0; step < steps; ++step) {
        cp_async_wait<0>();
        __syncthreads();
        if (step + 1 < steps) copy_tokens(memory, x, step + 1, first, end);
        if (threadIdx.x < N) {
            decay_keys(memory, step, end - first - step * wkv_step, threadIdx.x);
            decay *= memory.decays[threadIdx.x];
        }
        __syncthreads();
        step_state(memory, load_values(memory, step), state);
    }
    std::size_t const place = sequences.place(blockIdx.z, blockIdx.x, gridDim.y, blockIdx.y);
    each_of_state<N>([&](unsigned at, unsigned fragment, unsigned i) { sums[place * N * N + at] = state[fragment][i]; });
    if (threadIdx.x < N) decays[place * N + threadIdx.x] = decay;
}

/// A thread an element of a head's state: goes through the chunks, whose sums become the states that they begin with.
template <unsigned N>
__global__ void wkv6_states_kernel(wkv_sequences sequences, float* sums, float const* decays) {
    unsigned const at = blockIdx.x * blockDim.x + threadIdx.x;
    auto const& sequence = sequences.of.each[blockIdx.z];
    unsigned const chunks = wkv_chunks_of(sequence.end - sequence.first);
    if (at >= N * N) return;
    float& state = sequence.state[std::size_t{blockIdx.y} * N * N + at];
    float S = state;
    for (unsigned first = 0; first < chunks; first += wkv_ahead) {
        float sum[wkv_ahead] = {}, decay[wkv_ahead] = {};
        GOLDFINCH_DEVICE_UNROLL
        for (unsigned i = 0; i < wkv_ahead; ++i)
            if (first + i < chunks) {
                std::size_t const place = sequences.place(blockIdx.z, first + i, gridDim.y, blockIdx.y);
                sum[i] = sums[place * N * N + at], decay[i] = decays[place * N + at / N];
            }
        GOLDFINCH_DEVICE_UNROLL
        for (unsigned i = 0; i < wkv_ahead; ++i)
            if (first + i < chunks) {
                sums[sequences.place(blockIdx.z, first + i, gridDim.y, blockIdx.y) * N * N + at] = S;
                S = fmaf(decay[i], S, sum[i]);
            }
    }
    state = S;
}

/// The outputs of a chunk, from the state that it begins with. y may be r: only this block reads these tokens of the head, a step before it writes them.
template <unsigned N, class T>
__global__ void __launch_bounds__(wkv_chunk_threads<N>) wkv6_outputs_kernel(wkv_inputs<4> x, T const* u, wkv_sequences sequences, float const* states,
                                                                            cuda_rows<float> y) {
    constexpr unsigned parts = wkv_parts<T>;
    auto& memory = *shared_memory<wkv_output_memory<N, parts>>();
    auto const& sequence = sequences.of.each[blockIdx.z];
    unsigned const chunk = wkv_chunk_of(sequence.end - sequence.first), first = sequence.first + blockIdx.x * chunk;
    if (first >= sequence.end) return;
    unsigned const end = smaller(first + chunk, sequence.end), steps = divide_up(end - first, wkv_step), lane = threadIdx.x % warp;
    copy_tokens<N, 4>(memory, x, 0, first, end);
    std::size_t const place = sequences.place(blockIdx.z, blockIdx.x, gridDim.y, blockIdx.y);
    float state[N / 8][4];
    each_of_state<N>([&](unsigned at, unsigned fragment, unsigned i) { state[fragment][i] = states[place * N * N + at]; });
    for (unsigned step = 0; step < steps; ++step) {
        cp_async_wait<0>();
        __syncthreads();
        if (step + 1 < steps) copy_tokens<N, 4>(memory, x, step + 1, first, end);
        if (threadIdx.x < N)
            decay_queries(memory, step, threadIdx.x);
        else if (step + 1 < steps)
            decay_keys<N, 4>(memory, step, end - first - step * wkv_step, threadIdx.x - N);
        score_tokens(memory, step, u != nullptr ? u + blockIdx.y * N : nullptr);
        __syncthreads();
        auto const values = load_values<N, 4>(memory, step);
        auto const scores = load_split(memory.scores, lane % 16, lane / 16 * 8);
        float sums[2][4] = {};
        GOLDFINCH_DEVICE_UNROLL
        for (unsigned half = 0; half < 2; ++half) split_mma(sums[half], scores, words_of(values, half, half + 2));
        GOLDFINCH_DEVICE_UNROLL
        for (unsigned key = 0; key < N; key += 16) {
            auto const queries = load_split(memory.queries, lane % 16, key + lane / 16 * 8);
            GOLDFINCH_DEVICE_UNROLL
            for (unsigned half = 0; half < 2; ++half) {
                split_fragment<2, parts> S;
                S.set(0, state[key / 8][half * 2], state[key / 8][half * 2 + 1]);
                S.set(1, state[key / 8 + 1][half * 2], state[key / 8 + 1][half * 2 + 1]);
                split_mma(sums[half], queries, S);
            }
        }
        GOLDFINCH_DEVICE_UNROLL
        for (unsigned half = 0; half < 2; ++half)
            GOLDFINCH_DEVICE_UNROLL
            for (unsigned i = 0; i < 4; ++i) {
                unsigned const row = first + step * wkv_step + lane / 4 + i / 2 * 8;
                if (row < end) y[row][blockIdx.y * N + threadIdx.x / warp * 16 + half * 8 + lane % 4 * 2 + i % 2] = sums[half][i];
            }
        if (step + 1 < steps) step_state<N, 4>(memory, values, state);
    }
}

/// Of sequences with tokens. Rows are aligned to 16 bytes; u may be null.
template <unsigned N, class T>
void launch_wkv6_chunks(cuda_executor const& at, std::size_t heads, cuda_rows<float const> r, cuda_rows<float const> k, cuda_rows<float const> v,
                        cuda_rows<float const> w, T const* u, cuda_sequences const& of, cuda_rows<float> y) {
    wkv_sequences sequences{of};
    unsigned chunks = 0, most = 0;
    for (unsigned i = 0; i < of.size; ++i) {
        unsigned const n = wkv_chunks_of(of.each[i].end - of.each[i].first);
        sequences.first_chunk[i] = chunks;
        chunks += n;
        if (n > most) most = n;
    }
    cuda_temporary<float, std::size_t{N} * N> const sums(at, chunks * heads);
    cuda_temporary<float, N> const decays(at, chunks * heads);
    dim3 const grid(most, static_cast<unsigned>(heads), of.size), block(wkv_chunk_threads<N>);
    constexpr unsigned parts = wkv_parts<T>;
    launch(at, wkv6_sums_kernel<N, parts>, grid, block, sizeof(wkv_memory<N, 3, parts>), wkv_inputs<3>{{k, v, w}}, sequences, sums.data, decays.data);
    constexpr unsigned threads = threads_for(N * N);
    launch(at, wkv6_states_kernel<N>, dim3(divide_up(N * N, threads), grid.y, grid.z), dim3(threads), 0, sequences, sums.data, decays.data);
    launch(at, wkv6_outputs_kernel<N, T>, grid, block, sizeof(wkv_output_memory<N, parts>), wkv_inputs<4>{{k, v, w, r}}, u, sequences, sums.data, y);
}

}  // namespace goldfinch::detail::device
