// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <type_traits>

#include <goldfinch/backend/cuda.hpp>
#include <goldfinch/backend/cuda/kernels.hpp>
#include <goldfinch/backend/cuda/list.hpp>
#include <goldfinch/batch.hpp>
#include <goldfinch/layer/weights.hpp>
#include <goldfinch/view.hpp>

// The operations (backend/operations.hpp) of cuda<Weight>: shapes are checked by types, then a kernel gets them as numbers.

namespace goldfinch {

namespace detail {

template <class Weight>
using cuda_plain = typename cuda<Weight>::weight;
template <class Weight>
using cuda_plain_kernels = cuda_weight_kernels<cuda_plain<Weight>>;

template <class T, std::size_t D, std::size_t K>
cuda_shifts<T> shifts(vector<T const, D> const (&mu)[K], sequence<float, D> const (&y)[K]) {
    static_assert(K <= cuda_shifts<T>::most, "goldfinch: cuda shifts to at most 8 outputs at once");
    cuda_shifts<T> result;
    result.size = K;
    for (std::size_t k = 0; k < K; ++k) result.mu[k] = mu[k].data, result.y[k] = device_rows(y[k]);
    return result;
}

}  // namespace detail

template <std::size_t Width, class Weight>
cuda_temporary<float, Width> temporary(cuda<Weight> const& be, std::size_t rows) {
    return {be, rows};
}
template <class T, std::size_t Width, class Weight>
cuda_temporary<T, Width> temporary_of(cuda<Weight> const& be, std::size_t rows) {
    return {be, rows};
}

template <class Weight>
cuda<Weight> batch_invariant(cuda<Weight> const& be) {
    cuda<Weight> result = be;
    result.cuda_executor::batch_invariant = true;
    return result;
}

namespace detail {

/// The token ids of a pass.
class cuda_tokens : cuda_list<token> {
public:
    cuda_tokens(cuda_executor const& at, std::span<token const> tokens) : cuda_list(at, tokens), size_(tokens.size()) {}
    operator std::span<token const>() const { return {this->data(), size_}; }

private:
    std::size_t size_;
};

}  // namespace detail

template <class Weight>
detail::cuda_tokens upload(cuda<Weight> const& be, std::span<token const> tokens) {
    be.recorder->begin_pass(tokens.size());
    return {be, tokens};
}

template <class Weight, class T, class Id, std::size_t V, std::size_t D>
void embed(cuda<Weight> const& be, matrix<T const, V, D> table, std::span<Id const> ids, as<sequence<float, D>> y) {
    detail::cuda_weight_kernels<T>::embed(be, table.data, ids.data(), detail::device_rows(y));
}

template <class Weight, std::size_t D>
void copy(cuda<Weight> const& be, as<sequence<float const, D>> x, sequence<float, D> y) {
    constexpr std::size_t bytes = sizeof(float);
    if (y.data < x.data && y[y.size] > x.data && y.stride == x.stride) {  // rows are moved up: those between are read before they are written
        for (std::size_t t = 0; t < y.size; ++t) detail::cuda_driver<>::copy(y[t], x[t], D * bytes);
        return;
    }
    detail::cuda_driver<>::copy_rows(y.data, y.stride * bytes, x.data, x.stride * bytes, D * bytes, y.size);
    (void)be;
}

template <class Weight, std::size_t D>
void clear(cuda<Weight> const&, sequence<float, D> y) {
    detail::cuda_driver<>::clear_rows(y.data, y.stride * sizeof(float), D * sizeof(float), y.size);
}

template <class Weight, class S, std::size_t D>
void read_rows(cuda<Weight> const& be, sequence<S, D> x, float* to) {
    if (x.stride == D) return detail::cuda_driver<>::download(x.data, to, x.size * D * sizeof(float));
    auto const dense = temporary<D>(be, x.size);
    copy(be, x, sequence<float, D>(dense));
    detail::cuda_driver<>::download(dense.data, to, x.size * D * sizeof(float));
}

/// One after another: each index has the whole device.
template <class Weight, class F>
void parallel(cuda<Weight> const& be, std::size_t n, F const& f) {
    for (std::size_t i = 0; i < n; ++i) f(be, i);
}

template <class Weight, class T, std::size_t D>
void layer_norm(cuda<Weight> const& be, norm_weights<T, D> const& p, as<sequence<float const, D>> x, as<sequence<float, D>> y, double eps = 1e-5,
                std::size_t groups = 1) {
    detail::cuda_weight_kernels<std::remove_const_t<T>>::layer_norm(be, p.weight.data, p.bias.data, detail::device_rows(x), detail::device_rows(y),
                                                                    static_cast<float>(eps), groups);
}

template <class Weight, std::size_t D>
void rms_norm(cuda<Weight> const& be, as<sequence<float const, D>> x, sequence<float, D> y) {
    detail::cuda_kernels<>::rms_norm(be, detail::device_rows(x), detail::device_rows(y));
}

template <class Weight, std::size_t D, std::size_t K>
void token_shift(cuda<Weight> const& be, as<sequence<float const, D>> x, state_tensor<cuda<Weight>, D> before,
                 as<vector<detail::cuda_plain<Weight> const, D>> const (&mu)[K], as<sequence<float, D>> const (&y)[K]) {
    auto const outputs = detail::shifts<detail::cuda_plain<Weight>>(mu, y);
    detail::each_group(*before.of, before.offset, [&](detail::cuda_sequences const& of) {
        detail::cuda_plain_kernels<Weight>::token_shift(be, detail::device_rows(x), of, outputs);
    });
}
template <class Weight, std::size_t D>
void token_shift(cuda<Weight> const& be, as<sequence<float const, D>> x, state_tensor<cuda<Weight>, D> before,
                 as<vector<detail::cuda_plain<Weight> const, D>> mu, as<sequence<float, D>> y) {
    vector<detail::cuda_plain<Weight> const, D> const mus[]{mu};
    sequence<float, D> const ys[]{y};
    token_shift(be, x, before, mus, ys);
}

template <class Weight, std::size_t D, std::size_t K, std::size_t R>
void token_shift(cuda<Weight> const& be, as<sequence<float const, D>> x, state_tensor<cuda<Weight>, D> before, as<sequence<float const, K * R>> h,
                 tensor<detail::cuda_plain<Weight> const, K, R, D> w2, as<vector<detail::cuda_plain<Weight> const, D>> const (&mu)[K],
                 as<sequence<float, D>> const (&y)[K]) {
    auto const outputs = detail::shifts<detail::cuda_plain<Weight>>(mu, y);
    detail::each_group(*before.of, before.offset, [&](detail::cuda_sequences const& of) {
        detail::cuda_plain_kernels<Weight>::token_shift(be, detail::device_rows(x), of, detail::device_rows(h), w2.data, outputs);
    });
}
template <class Weight, std::size_t D, std::size_t R>
void token_shift(cuda<Weight> const& be, as<sequence<float const, D>> x, state_tensor<cuda<Weight>, D> before, as<sequence<float const, R>> h,
                 matrix<detail::cuda_plain<Weight> const, R, D> w2, as<vector<detail::cuda_plain<Weight> const, D>> mu, as<sequence<float, D>> y) {
    vector<detail::cuda_plain<Weight> const, D> const mus[]{mu};
    sequence<float, D> const ys[]{y};
    token_shift(be, x, before, h, tensor<detail::cuda_plain<Weight> const, 1, R, D>{w2.data}, mus, ys);
}

template <class Weight, std::size_t D>
void keep_last(cuda<Weight> const& be, as<sequence<float const, D>> x, state_tensor<cuda<Weight>, D> state) {
    detail::each_group(*state.of, state.offset, [&](detail::cuda_sequences const& of) { detail::cuda_kernels<>::keep_last(be, detail::device_rows(x), of); });
}

template <class Weight, class T, std::size_t Out, std::size_t In>
void linear(cuda<Weight> const& be, matrix<T const, Out, In> w, as<sequence<float const, In>> x, as<sequence<float, Out>> y) {
    detail::cuda_product_kernels<T const*>::linear(be, w.data, detail::device_rows(x), detail::device_rows(y));
}
template <class Weight, std::size_t Bits, std::size_t Out, std::size_t In>
void linear(cuda<Weight> const& be, quantized_matrix<Bits, Out, In> w, as<sequence<float const, In>> x, as<sequence<float, Out>> y) {
    detail::cuda_product_kernels<detail::cuda_packed<Bits>>::linear(be, {w.planes[0], w.planes[1]}, detail::device_rows(x), detail::device_rows(y));
}

template <class Weight, class T, std::size_t In, std::size_t R>
void lora_down(cuda<Weight> const& be, as<sequence<float const, In>> x, matrix<T const, In, R> w1, as<sequence<float, R>> h) {
    detail::cuda_weight_kernels<T>::lora_down(be, detail::device_rows(x), w1.data, detail::device_rows(h));
}
template <class Weight, class T, std::size_t R, std::size_t Out>
void lora_up(cuda<Weight> const& be, as<sequence<float const, R>> h, matrix<T const, R, Out> w2, as<sequence<float, Out>> y) {
    detail::cuda_weight_kernels<T>::lora_up(be, nullptr, detail::device_rows(h), w2.data, detail::device_rows(y));
}
template <class Weight, class T, std::size_t In, std::size_t R, std::size_t Out>
void lora(cuda<Weight> const& be, as<vector<T const, Out>> v, as<sequence<float const, In>> x, matrix<T const, In, R> w1, matrix<T const, R, Out> w2,
          as<sequence<float, Out>> y) {
    auto const h = temporary<R>(be, 2 * x.size);
    detail::cuda_weight_kernels<T>::lora(be, v.data, detail::device_rows(x), w1.data, detail::device_rows(outputs<cuda<Weight>, R>(h)), w2.data, detail::device_rows(y));
}
template <class Weight, class T, std::size_t In, std::size_t R, std::size_t Out>
void lora(cuda<Weight> const& be, as<sequence<float const, In>> x, matrix<T const, In, R> w1, matrix<T const, R, Out> w2, as<sequence<float, Out>> y) {
    lora(be, vector<T const, Out>{}, x, w1, w2, y);
}

template <class Weight, std::size_t D>
void decay(cuda<Weight> const& be, sequence<float, D> w) {
    detail::cuda_kernels<>::decay(be, detail::device_rows(w), {});
}
template <class Weight, std::size_t D>
void decay(cuda<Weight> const& be, sequence<float, D> w, as<sequence<float, D>> k) {
    detail::cuda_kernels<>::decay(be, detail::device_rows(w), detail::device_rows(k));
}

template <class Weight, std::size_t H, std::size_t N>
void wkv6(cuda<Weight> const& be, as<sequence<float const, H * N>> r, as<sequence<float const, H * N>> k, as<sequence<float const, H * N>> v,
          as<sequence<float const, H * N>> w, as<matrix<detail::cuda_plain<Weight> const, H, N>> u, state_tensor<cuda<Weight>, H, N, N> state,
          as<sequence<float, H * N>> y) {
    static_assert(N <= 256, "goldfinch: cuda runs the recurrence of RWKV-6 with a head_size of at most 256");
    detail::each_group(*state.of, state.offset, [&](detail::cuda_sequences const& of) {
        detail::cuda_plain_kernels<Weight>::template wkv6<N>(be, H, detail::device_rows(r), detail::device_rows(k), detail::device_rows(v), detail::device_rows(w),
                                                             u.data, of, detail::device_rows(y));
    });
}
template <class Weight, std::size_t H, std::size_t N>
void wkv6(cuda<Weight> const& be, as<sequence<float const, H * N>> r, as<sequence<float const, H * N>> k, as<sequence<float const, H * N>> v,
          as<sequence<float const, H * N>> w, state_tensor<cuda<Weight>, H, N, N> state, as<sequence<float, H * N>> y) {
    wkv6(be, r, k, v, w, matrix<detail::cuda_plain<Weight> const, H, N>{}, state, y);
}

template <class Weight, std::size_t D>
void add(cuda<Weight> const& be, as<sequence<float const, D>> x, sequence<float, D> y) {
    detail::cuda_kernels<>::add(be, detail::device_rows(x), detail::device_rows(y));
}
template <class Weight, std::size_t D>
void relu_squared(cuda<Weight> const& be, sequence<float, D> x) {
    detail::cuda_kernels<>::relu_squared(be, detail::device_rows(x));
}
template <class Weight, std::size_t D>
void sigmoid_gate(cuda<Weight> const& be, as<sequence<float const, D>> gate, sequence<float, D> x) {
    detail::cuda_kernels<>::sigmoid_gate(be, detail::device_rows(gate), detail::device_rows(x));
}
template <class Weight, std::size_t D>
void silu_gate(cuda<Weight> const& be, as<sequence<float const, D>> gate, sequence<float, D> x) {
    detail::cuda_kernels<>::silu_gate(be, detail::device_rows(gate), detail::device_rows(x));
}

template <std::size_t N, class Weight, std::size_t D>
void rope(cuda<Weight> const& be, batch<float> const& of, sequence<float, D> x, double base, double rescale) {
    static_assert(N % 2 == 0 && D % N == 0, "goldfinch: rope turns pairs of channels in heads of N");
    detail::each_group(of, 0, [&](detail::cuda_sequences const& group) { detail::cuda_kernels<>::rope(be, group, N, base, rescale, detail::device_rows(x)); }, true);
}

template <class Weight, std::size_t A, std::size_t H>
void inner_product(cuda<Weight> const& be, as<sequence<float const, A>> a, sequence<float, A> b, sequence<float, H> y) {
    static_assert(A % H == 0, "goldfinch: inner_product needs heads of equal size");
    detail::cuda_kernels<>::inner_product(be, detail::device_rows(a), detail::device_rows(sequence<float const, A>(b)), detail::device_rows(y));
}

template <class Weight, class Value, std::size_t D>
void pack(cuda<Weight> const& be, as<sequence<float const, D>> x, sequence<Value, D> y, float* scales) {
    detail::cuda_value_kernels<Value>::pack(be, detail::device_rows(x), detail::device_rows(y), scales);
}
template <class Weight, class Value, std::size_t D>
void unpack(cuda<Weight> const& be, sequence<Value, D> x, float const* scales, as<sequence<float, D>> y) {
    using plain = std::remove_const_t<Value>;
    detail::cuda_value_kernels<plain>::unpack(be, detail::device_rows(sequence<plain const, D>(x.data, x.size, x.stride)), scales, detail::device_rows(y));
}

}  // namespace goldfinch
