// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>

#include <goldfinch/backend/cuda/memory.hpp>
#include <goldfinch/batch.hpp>
#include <goldfinch/view.hpp>

// What the operations call: a function for each kernel, which puts it into the stream of its executor. Shapes are numbers here. The functions are
// defined in *.cuh, which nvcc compiles.

namespace goldfinch::detail {

/// Rows of `width` elements, `stride` apart.
template <class T>
struct cuda_rows {
    T* data = nullptr;
    std::size_t size = 0, stride = 0, width = 0;

    constexpr T* operator[](std::size_t t) const { return data + t * stride; }
};

/// Whether two are the same rows, and whether they have no byte in common.
template <class A, class B>
bool same_rows(cuda_rows<A> const& a, cuda_rows<B> const& b) {
    return a.data == b.data && a.size == b.size && a.stride == b.stride && a.width == b.width;
}
template <class A, class B>
bool apart(cuda_rows<A> const& a, cuda_rows<B> const& b) {
    auto const end = [](auto const& rows) { return rows.size == 0 ? rows.data : rows[rows.size - 1] + rows.width; };
    std::less_equal<void const*> const before;
    return before(end(a), b.data) || before(end(b), a.data);
}

template <class T, std::size_t Width>
cuda_rows<T> device_rows(sequence<T, Width> const& x) {
    return {x.data, x.size, x.stride, Width};
}

/// Some sequences of a batch, by value: an argument of a kernel. Their rows follow one another.
struct cuda_sequences {
    static constexpr unsigned most = 32;
    struct entry {
        float* state;              ///< where the operation's tensor in its state begins
        unsigned first, end;       ///< its rows
        unsigned long long before; ///< how many tokens came before them
    };
    unsigned size = 0, padding = 0;
    entry each[most];
};

/// f(sequences) for all sequences of a batch, some at a time; `offset` is that of a tensor in a state. Only kernels that need positions get them, so that the
/// arguments of all others are the same from token to token.
template <class F>
void each_group(batch<float> const& of, std::size_t offset, F const& f, bool positions = false) {
    for (std::size_t first = 0; first < of.size; first += cuda_sequences::most) {
        cuda_sequences group{};
        for (std::size_t i = first; i < std::min(of.size, first + cuda_sequences::most); ++i)
            if (of.rows(i) > 0)
                group.each[group.size++] = {of.state == nullptr || of.state[i] == nullptr ? nullptr : of.state[i] + offset, static_cast<unsigned>(of.first[i]),
                                            static_cast<unsigned>(of.first[i + 1]), positions ? of.position[i] : 0};
        if (group.size > 0) f(group);
    }
}

/// The rows x of integers of Bits bits (weight/quantized.hpp).
template <std::size_t Bits>
struct cuda_packed {
    std::byte const *words, *scales;
};

/// Kernels without weights.
template <class OnDemand = void>
struct cuda_kernels {
    static void rms_norm(cuda_executor const& at, cuda_rows<float const> x, cuda_rows<float> y);
    static void keep_last(cuda_executor const& at, cuda_rows<float const> x, cuda_sequences const& of);
    static void decay(cuda_executor const& at, cuda_rows<float> w, cuda_rows<float> k);  ///< k without data: w alone
    static void add(cuda_executor const& at, cuda_rows<float const> x, cuda_rows<float> y);
    static void relu_squared(cuda_executor const& at, cuda_rows<float> x);
    static void sigmoid_gate(cuda_executor const& at, cuda_rows<float const> gate, cuda_rows<float> x);
    static void silu_gate(cuda_executor const& at, cuda_rows<float const> gate, cuda_rows<float> x);
    static void rope(cuda_executor const& at, cuda_sequences const& of, std::size_t head_size, double base, double rescale, cuda_rows<float> x);
    static void inner_product(cuda_executor const& at, cuda_rows<float const> a, cuda_rows<float const> b, cuda_rows<float> y);
};

/// Outputs of a token shift.
template <class T>
struct cuda_shifts {
    static constexpr std::size_t most = 8;
    std::size_t size = 0;
    T const* mu[most] = {};
    cuda_rows<float> y[most] = {};
};

/// Kernels with weights of type T, or with integers of Bits bits where T is cuda_packed<Bits>.
template <class T>
struct cuda_weight_kernels {
    /// Ids are std::uint16_t or std::uint32_t.
    template <class Id>
    static void embed(cuda_executor const& at, T const* table, Id const* ids, cuda_rows<float> y);
    static void layer_norm(cuda_executor const& at, T const* weight, T const* bias, cuda_rows<float const> x, cuda_rows<float> y, float eps, std::size_t groups);
    static void token_shift(cuda_executor const& at, cuda_rows<float const> x, cuda_sequences const& of, cuda_shifts<T> const& outputs);
    static void token_shift(cuda_executor const& at, cuda_rows<float const> x, cuda_sequences const& of, cuda_rows<float const> h, T const* w2,
                            cuda_shifts<T> const& outputs);
    static void lora_down(cuda_executor const& at, cuda_rows<float const> x, T const* w1, cuda_rows<float> h);
    /// y += h w2, or y = v + h w2 where there is a v.
    static void lora_up(cuda_executor const& at, T const* v, cuda_rows<float const> h, T const* w2, cuda_rows<float> y);
    /// lora_down, and then lora_up. h has twice as many rows as x: a product that joins the one before it uses the half that this does not.
    static void lora(cuda_executor const& at, T const* v, cuda_rows<float const> x, T const* w1, cuda_rows<float> h, T const* w2, cuda_rows<float> y);
    /// u may be null.
    template <std::size_t N>
    static void wkv6(cuda_executor const& at, std::size_t heads, cuda_rows<float const> r, cuda_rows<float const> k, cuda_rows<float const> v,
                     cuda_rows<float const> w, T const* u, cuda_sequences const& of, cuda_rows<float> y);
};

/// Products with weights, whose rows are a T const*, or cuda_packed<Bits>.
template <class Weights>
struct cuda_product_kernels {
    static void linear(cuda_executor const& at, Weights w, cuda_rows<float const> x, cuda_rows<float> y);
};

/// Keys and values of some positions of one sequence, and the queries that see them: the i-th query sees the first visible + i keys.
template <class Value>
struct cuda_attended {
    Value const *keys, *values;
    std::size_t key_stride, value_stride;
    unsigned n;                    ///< positions
    unsigned query, queries;       ///< rows of q
    unsigned visible;
    unsigned sums;                 ///< the first query's row in the sums
};
/// Some of these one after another, which go into the same sums.
struct cuda_chain {
    unsigned first, end;
};
/// For each query, or each part of its keys, and each head: the largest score, the sum of exp(score - largest), and the sum of values so weighted.
struct cuda_attention_sums {
    float *largest, *total, *value;
};

/// Kernels with the Values that caches keep.
template <class Value>
struct cuda_value_kernels {
    static void pack(cuda_executor const& at, cuda_rows<float const> x, cuda_rows<Value> y, float* scales);
    static void unpack(cuda_executor const& at, cuda_rows<Value const> x, float const* scales, cuda_rows<float> y);
    /// Adds what is attended to, in memory of the device, to the sums.
    static void attend(cuda_executor const& at, std::size_t heads, cuda_rows<float const> q, cuda_attended<Value> const* attended, cuda_chain const* chain_list,
                       std::size_t n_chains, std::size_t most_queries, cuda_attention_sums sums);
};

/// The sums of a query's parts: `parts` rows from `sums` on, `stride` apart.
struct cuda_parts {
    unsigned sums, parts, stride, query;
};
template <class OnDemand = void>
struct cuda_attention_kernels {
    static void clear(cuda_executor const& at, std::size_t rows, std::size_t heads, std::size_t width, cuda_attention_sums sums);
    /// y = the values of all parts over their totals.
    static void merge(cuda_executor const& at, std::size_t heads, cuda_attention_sums sums, cuda_parts const* parts, std::size_t n, cuda_rows<float> y);
};

}  // namespace goldfinch::detail
