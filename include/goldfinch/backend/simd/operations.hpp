// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>
#include <type_traits>

#include <goldfinch/backend/cpu/attention.hpp>
#include <goldfinch/backend/cpu/functions.hpp>
#include <goldfinch/backend/cpu/rows.hpp>
#include <goldfinch/backend/simd.hpp>
#include <goldfinch/backend/simd/quantized.hpp>
#include <goldfinch/backend/simd/select.hpp>
#include <goldfinch/batch.hpp>
#include <goldfinch/layer/weights.hpp>
#include <goldfinch/view.hpp>
#include <goldfinch/weight/formats.hpp>

// The operations (backend/operations.hpp) of simd<Weight>: shapes are checked by types, then a kernel gets them as numbers.

namespace goldfinch {
inline namespace GOLDFINCH_SIMD_NAMESPACE {

namespace arguments {

template <class T, std::size_t Width>
detail::rows<T> rows(sequence<T, Width> const& x) {
    return {x.data, x.size, x.stride, Width};
}
template <class Weight>
using plain = typename simd<Weight>::weight;

/// Where the row before each row of x is.
template <class Weight, std::size_t D>
class rows_before {
public:
    rows_before(simd<Weight> const& be, sequence<float const, D> x, state_tensor<simd<Weight>, D> const& before) : rows_(be, x.size) {
        for (std::size_t i = 0; i < before.of->size; ++i)
            for (std::size_t t = before.of->first[i]; t < before.of->first[i + 1]; ++t) rows_[t] = t == before.of->first[i] ? before[i].data : x[t - 1];
    }
    float const* const* data() const { return rows_.data(); }

private:
    detail::cpu_array<float const*> rows_;
};

/// The same argument of several outputs.
template <class T, std::size_t N, std::size_t K>
struct vectors {
    T* each[K];
    explicit vectors(vector<T, N> const (&of)[K]) {
        for (std::size_t k = 0; k < K; ++k) each[k] = of[k].data;
    }
};
template <std::size_t D, std::size_t K>
struct sequences {
    detail::rows<float> each[K];
    explicit sequences(sequence<float, D> const (&of)[K]) {
        for (std::size_t k = 0; k < K; ++k) each[k] = rows(of[k]);
    }
};

}  // namespace arguments

template <class Weight, class T, class Id, std::size_t V, std::size_t D>
void embed(simd<Weight> const& be, matrix<T const, V, D> table, std::span<Id const> ids, as<sequence<float, D>> y) {
    detail::cpu_array<T const*> const from(be, y.size);
    for (std::size_t t = 0; t < y.size; ++t) from[t] = table.data + ids[t] * D;
    GOLDFINCH_WEIGHT_KERNEL(T, widen)(be, from.data(), arguments::rows(y));
}

template <class Weight, std::size_t D>
void copy(simd<Weight> const&, as<sequence<float const, D>> x, sequence<float, D> y) {
    for (std::size_t t = 0; t < y.size; ++t) std::copy_n(x[t], D, y[t]);
}

template <class Weight, std::size_t D>
void clear(simd<Weight> const&, sequence<float, D> y) {
    for (std::size_t t = 0; t < y.size; ++t) std::fill_n(y[t], D, 0.0f);
}

template <class Weight, class S, std::size_t D>
void read_rows(simd<Weight> const&, sequence<S, D> x, float* to) {
    for (std::size_t t = 0; t < x.size; ++t) std::copy_n(x[t], D, to + t * D);
}

template <class Weight, class T, std::size_t D>
void layer_norm(simd<Weight> const& be, norm_weights<T, D> const& p, as<sequence<float const, D>> x, as<sequence<float, D>> y, double eps = 1e-5,
                std::size_t groups = 1) {
    GOLDFINCH_WEIGHT_KERNEL(std::remove_const_t<T>, layer_norm)
    (be, p.weight.data, p.bias.data, arguments::rows(x), arguments::rows(y), static_cast<float>(eps), groups);
}

template <class Weight, std::size_t D>
void rms_norm(simd<Weight> const& be, as<sequence<float const, D>> x, sequence<float, D> y) {
    GOLDFINCH_KERNEL(rms_norm)(be, arguments::rows(x), arguments::rows(y));
}

template <class Weight, std::size_t D, std::size_t K>
void token_shift(simd<Weight> const& be, as<sequence<float const, D>> x, state_tensor<simd<Weight>, D> before,
                 as<vector<arguments::plain<Weight> const, D>> const (&mu)[K], as<sequence<float, D>> const (&y)[K]) {
    arguments::rows_before const rows_before(be, x, before);
    GOLDFINCH_WEIGHT_KERNEL(arguments::plain<Weight>, token_shift)
    (be, arguments::rows(x), rows_before.data(), K, arguments::vectors(mu).each, arguments::sequences(y).each);
}
template <class Weight, std::size_t D>
void token_shift(simd<Weight> const& be, as<sequence<float const, D>> x, state_tensor<simd<Weight>, D> before,
                 as<vector<arguments::plain<Weight> const, D>> mu, as<sequence<float, D>> y) {
    vector<arguments::plain<Weight> const, D> const mus[]{mu};
    sequence<float, D> const ys[]{y};
    token_shift(be, x, before, mus, ys);
}

template <class Weight, std::size_t D, std::size_t K, std::size_t R>
void token_shift(simd<Weight> const& be, as<sequence<float const, D>> x, state_tensor<simd<Weight>, D> before, as<sequence<float const, K * R>> h,
                 tensor<arguments::plain<Weight> const, K, R, D> w2, as<vector<arguments::plain<Weight> const, D>> const (&mu)[K],
                 as<sequence<float, D>> const (&y)[K]) {
    arguments::rows_before const rows_before(be, x, before);
    GOLDFINCH_WEIGHT_KERNEL(arguments::plain<Weight>, token_shift_lora)
    (be, arguments::rows(x), rows_before.data(), K, arguments::vectors(mu).each, arguments::rows(h), w2.data, arguments::sequences(y).each);
}
template <class Weight, std::size_t D, std::size_t R>
void token_shift(simd<Weight> const& be, as<sequence<float const, D>> x, state_tensor<simd<Weight>, D> before, as<sequence<float const, R>> h,
                 matrix<arguments::plain<Weight> const, R, D> w2, as<vector<arguments::plain<Weight> const, D>> mu, as<sequence<float, D>> y) {
    vector<arguments::plain<Weight> const, D> const mus[]{mu};
    sequence<float, D> const ys[]{y};
    token_shift(be, x, before, h, tensor<arguments::plain<Weight> const, 1, R, D>{w2.data}, mus, ys);
}

template <class Weight, std::size_t D>
void keep_last(simd<Weight> const&, as<sequence<float const, D>> x, state_tensor<simd<Weight>, D> state) {
    for (std::size_t i = 0; i < state.of->size; ++i)
        if (state.of->rows(i) > 0) std::copy_n(x[state.of->first[i + 1] - 1], D, state[i].data);
}

template <class Weight, class T, std::size_t Out, std::size_t In>
void linear(simd<Weight> const& be, matrix<T const, Out, In> w, as<sequence<float const, In>> x, as<sequence<float, Out>> y) {
    GOLDFINCH_WEIGHT_KERNEL(T, linear)(be, w.data, arguments::rows(x), arguments::rows(y));
}

template <class Weight, class T, std::size_t Out, std::size_t In>
void linear(simd<Weight> const& be, transposed_matrix<T const, Out, In> w, as<sequence<float const, In>> x, as<sequence<float, Out>> y) {
    GOLDFINCH_WEIGHT_KERNEL(T, sparse_linear)(be, w.data, arguments::rows(x), arguments::rows(y));
}
template <class Weight, std::size_t Bits, std::size_t Out, std::size_t In>
void linear(simd<Weight> const& be, quantized_matrix<Bits, Out, In> w, as<sequence<float const, In>> x, as<sequence<float, Out>> y) {
    GOLDFINCH_WEIGHT_KERNEL(detail::packed_integers<Bits>, linear)(be, {w.planes[0], w.planes[1]}, arguments::rows(x), arguments::rows(y));
}
template <class Weight, std::size_t Bits, std::size_t Out, std::size_t In>
void linear(simd<Weight> const& be, transposed_quantized_matrix<Bits, Out, In> w, as<sequence<float const, In>> x, as<sequence<float, Out>> y) {
    GOLDFINCH_WEIGHT_KERNEL(detail::packed_integers<Bits>, sparse_linear)(be, {w.planes[0], w.planes[1]}, arguments::rows(x), arguments::rows(y));
}

template <class Weight, class T, std::size_t In, std::size_t R>
void lora_down(simd<Weight> const& be, as<sequence<float const, In>> x, matrix<T const, In, R> w1, as<sequence<float, R>> h) {
    GOLDFINCH_WEIGHT_KERNEL(T, lora_down)(be, arguments::rows(x), w1.data, arguments::rows(h));
}

template <class Weight, class T, std::size_t R, std::size_t Out>
void lora_up(simd<Weight> const& be, as<sequence<float const, R>> h, matrix<T const, R, Out> w2, as<sequence<float, Out>> y) {
    GOLDFINCH_WEIGHT_KERNEL(T, lora_up)(be, nullptr, arguments::rows(h), w2.data, arguments::rows(y));
}

template <class Weight, class T, std::size_t In, std::size_t R, std::size_t Out>
void lora(simd<Weight> const& be, as<vector<T const, Out>> v, as<sequence<float const, In>> x, matrix<T const, In, R> w1, matrix<T const, R, Out> w2,
          as<sequence<float, Out>> y) {
    auto const h = temporary<R>(be, x.size);
    lora_down(be, x, w1, h);
    GOLDFINCH_WEIGHT_KERNEL(T, lora_up)(be, v.data, arguments::rows(h), w2.data, arguments::rows(y));
}
template <class Weight, class T, std::size_t In, std::size_t R, std::size_t Out>
void lora(simd<Weight> const& be, as<sequence<float const, In>> x, matrix<T const, In, R> w1, matrix<T const, R, Out> w2,
          as<sequence<float, Out>> y) {
    lora(be, vector<T const, Out>{}, x, w1, w2, y);
}

template <class Weight, std::size_t D>
void decay(simd<Weight> const& be, sequence<float, D> w) {
    GOLDFINCH_KERNEL(decay)(be, arguments::rows(w));
}
template <class Weight, std::size_t D>
void decay(simd<Weight> const& be, sequence<float, D> w, as<sequence<float, D>> k) {
    GOLDFINCH_KERNEL(decay_scaling)(be, arguments::rows(w), arguments::rows(k));
}

template <class Weight, std::size_t H, std::size_t N>
void wkv6(simd<Weight> const& be, as<sequence<float const, H * N>> r, as<sequence<float const, H * N>> k, as<sequence<float const, H * N>> v,
          as<sequence<float const, H * N>> w, as<matrix<arguments::plain<Weight> const, H, N>> u, state_tensor<simd<Weight>, H, N, N> state,
          as<sequence<float, H * N>> y) {
    GOLDFINCH_WEIGHT_KERNEL(arguments::plain<Weight>, wkv6)
    (be, H, N, arguments::rows(r), arguments::rows(k), arguments::rows(v), arguments::rows(w), u.data,
     {state.of->size, state.of->state, state.offset, state.of->first}, arguments::rows(y));
}
template <class Weight, std::size_t H, std::size_t N>
void wkv6(simd<Weight> const& be, as<sequence<float const, H * N>> r, as<sequence<float const, H * N>> k, as<sequence<float const, H * N>> v,
          as<sequence<float const, H * N>> w, state_tensor<simd<Weight>, H, N, N> state, as<sequence<float, H * N>> y) {
    wkv6(be, r, k, v, w, matrix<arguments::plain<Weight> const, H, N>{}, state, y);
}

template <class Weight, std::size_t D>
void add(simd<Weight> const& be, as<sequence<float const, D>> x, sequence<float, D> y) {
    GOLDFINCH_KERNEL(add)(be, arguments::rows(x), arguments::rows(y));
}

template <class Weight, std::size_t D>
void relu_squared(simd<Weight> const& be, sequence<float, D> x) {
    GOLDFINCH_KERNEL(relu_squared)(be, arguments::rows(x));
}

template <class Weight, std::size_t D>
void sigmoid_gate(simd<Weight> const& be, as<sequence<float const, D>> gate, sequence<float, D> x) {
    GOLDFINCH_KERNEL(sigmoid_gate)(be, arguments::rows(gate), arguments::rows(x));
}

template <class Weight, std::size_t D>
void silu_gate(simd<Weight> const& be, as<sequence<float const, D>> gate, sequence<float, D> x) {
    GOLDFINCH_KERNEL(silu_gate)(be, arguments::rows(gate), arguments::rows(x));
}

template <std::size_t N, class Weight, std::size_t D>
void rope(simd<Weight> const& be, batch<float> const& of, sequence<float, D> x, double base, double rescale) {
    static_assert(N % 2 == 0 && D % N == 0, "goldfinch: rope turns pairs of channels in heads of N");
    for (std::size_t i = 0; i < of.size; ++i)
        GOLDFINCH_KERNEL(rope)(be, arguments::rows(x.rows(of.first[i], of.rows(i))), N, of.position[i], base, rescale);
}

template <class Weight, class Value, std::size_t D>
void pack(simd<Weight> const& be, as<sequence<float const, D>> x, sequence<Value, D> y, float* scales) {
    GOLDFINCH_VALUE_KERNEL(Value, pack)(be, arguments::rows(x), arguments::rows(y), scales);
}

template <class Weight, class Value, std::size_t D>
void unpack(simd<Weight> const& be, sequence<Value, D> x, float const* scales, as<sequence<float, D>> y) {
    GOLDFINCH_VALUE_KERNEL(std::remove_const_t<Value>, unpack)(be, arguments::rows(x), scales, arguments::rows(y));
}

template <class Weight>
void clear_sums(simd<Weight> const&, detail::attention_sums<float> const& sums) {
    for (std::size_t t = 0; t < sums.value.size; ++t) {
        std::fill_n(sums.max[t], sums.max.width, -std::numeric_limits<float>::infinity());
        std::fill_n(sums.total[t], sums.total.width, 0.0f);
        std::fill_n(sums.value[t], sums.value.width, 0.0f);
    }
}
template <class Weight, class Value, std::size_t A>
void attend_tile(simd<Weight> const& be, as<sequence<float const, A>> q, std::size_t offset, sequence<Value, A> k, as<sequence<Value, A>> v,
                 detail::attention_sums<float> const& sums) {
    std::size_t const heads = sums.max.width;
    GOLDFINCH_VALUE_KERNEL(std::remove_const_t<Value>, attend)
    (be, {heads, A / heads, arguments::rows(q), arguments::rows(k), arguments::rows(v), sums, offset});
}
template <class Weight, std::size_t A>
void merge_sums(simd<Weight> const& be, detail::attention_sums<float> const* parts, std::size_t count, std::size_t heads, sequence<float, A> y) {
    GOLDFINCH_KERNEL(merge)(be, parts, count, heads, arguments::rows(y));
}

template <std::size_t H, class Weight, std::size_t A, class Tiles>
void softmax_attention(simd<Weight> const& be, batch<float> const& of, as<sequence<float const, A>> q, Tiles const& tiles, sequence<float, A> y) {
    static_assert(A / H <= 512, "goldfinch: simd attends with a head_size of at most 512");
    detail::attend_by_tiles<H>(be, of, q, tiles, y);
}

}  // namespace GOLDFINCH_SIMD_NAMESPACE
}  // namespace goldfinch
