// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <type_traits>

#include <goldfinch/backend/cpu.hpp>
#include <goldfinch/backend/cpu/attention.hpp>
#include <goldfinch/backend/cpu/checks.hpp>
#include <goldfinch/backend/cpu/functions.hpp>
#include <goldfinch/backend/cpu/intrinsics.hpp>  // before Eigen, which includes them without quieting GCC
#include <goldfinch/batch.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/layer/weights.hpp>
#include <goldfinch/numeric.hpp>
#include <goldfinch/view.hpp>
#include <goldfinch/weight/plain.hpp>

#include <Eigen/Core>

namespace goldfinch {

/// The oracle: every operation (operations.hpp) in plain Eigen and float64, slow and obvious. Other backends hold to it within rounding. Where
/// NDEBUG is not defined it asserts what operations ask of the rows of their arguments.
struct reference : cpu_backend {
    using weight = double;  ///< what weights are stored as
    using scalar = double;  ///< what activations, states and sums are
    template <std::size_t Out, std::size_t In>
    using linear_weights = matrix<double const, Out, In>;
    template <std::size_t Out, std::size_t In>
    using sparse_input_weights = linear_weights<Out, In>;

    explicit reference(cpu_executor const& at) : cpu_backend(at) {}
};

namespace detail {

/// Values of Eigen. They depend on a size only so that a program pays for the operations it uses: what does not depend on a
/// template's parameters is compiled where it is written.
template <std::size_t>
struct values {
    using array = Eigen::Array<double, 1, Eigen::Dynamic>;
    using row_vector = Eigen::RowVectorXd;
    using matrix = Eigen::MatrixXd;
};

template <class T, std::size_t Width>
auto row(sequence<T, Width> const& x, std::size_t t) {
    using plain = Eigen::Array<std::remove_const_t<T>, 1, static_cast<Eigen::Index>(Width)>;
    return Eigen::Map<std::conditional_t<std::is_const_v<T>, plain const, plain>>(x[t]);
}
template <class T, std::size_t N>
auto map(vector<T, N> const& v) {
    return row(sequence<T, N>{v.data, 1}, 0);
}
template <class T, std::size_t Rows, std::size_t Cols>
auto map(matrix<T, Rows, Cols> const& m) {
    using plain = Eigen::Matrix<std::remove_const_t<T>, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    return Eigen::Map<std::conditional_t<std::is_const_v<T>, plain const, plain>>(m.data, Rows, Cols);
}
/// f(sequence, t, the row before row t) for every row of x, where `before` stands before the first row of a sequence.
template <std::size_t D, class F>
void each_row_with_before(sequence<double const, D> const& x, state_tensor<reference, D> before, F const& f) {
    assert(has_rows(x, before.of->first[before.of->size]));
    for (std::size_t i = 0; i < before.of->size; ++i)
        for (std::size_t t = before.of->first[i]; t < before.of->first[i + 1]; ++t) {
            bool const is_first = t == before.of->first[i];
            f(t, typename values<D>::array(is_first ? row(sequence<double const, D>{before[i].data, 1}, 0) : row(x, t - 1)));
        }
}

}  // namespace detail

template <class Id, std::size_t V, std::size_t D>
void embed(reference const&, matrix<double const, V, D> table, std::span<Id const> ids, as<sequence<double, D>> y) {
    assert(ids.size() == y.size);
    for (std::size_t t = 0; t < y.size; ++t) detail::row(y, t) = detail::map(table).row(static_cast<Eigen::Index>(ids[t])).array();
}

template <std::size_t D>
void copy(reference const&, as<sequence<double const, D>> x, sequence<double, D> y) {
    assert(detail::same_rows(x, y));
    for (std::size_t t = 0; t < y.size; ++t) detail::row(y, t) = detail::row(x, t);
}

template <std::size_t D>
void clear(reference const&, sequence<double, D> y) {
    for (std::size_t t = 0; t < y.size; ++t) detail::row(y, t) = 0;
}

template <class S, std::size_t D>
void read_rows(reference const&, sequence<S, D> x, float* to) {
    for (std::size_t t = 0; t < x.size; ++t)
        for (std::size_t i = 0; i < D; ++i) to[t * D + i] = static_cast<float>(x[t][i]);
}

template <std::size_t D>
void layer_norm(reference const&, norm_weights<double const, D> const& p, as<sequence<double const, D>> x, as<sequence<double, D>> y,
                double eps = 1e-5, std::size_t groups = 1) {
    assert(detail::same_rows(x, y) && detail::same_or_apart(x, y));
    auto const n = static_cast<Eigen::Index>(D / groups);
    for (std::size_t t = 0; t < x.size; ++t) {
        for (Eigen::Index g = 0; g < static_cast<Eigen::Index>(groups); ++g) {
            typename detail::values<D>::array const z = detail::row(x, t).segment(g * n, n) - detail::row(x, t).segment(g * n, n).mean();
            detail::row(y, t).segment(g * n, n) = z / std::sqrt(z.square().mean() + eps);
        }
        detail::row(y, t) = detail::row(y, t) * detail::map(p.weight) + detail::map(p.bias);
    }
}

template <std::size_t D>
void rms_norm(reference const&, as<sequence<double const, D>> x, sequence<double, D> y) {
    assert(detail::same_rows(x, y) && detail::same_or_apart(x, y));
    for (std::size_t t = 0; t < x.size; ++t) detail::row(y, t) = detail::row(x, t) / (std::sqrt(detail::row(x, t).square().mean()) + 1e-8);
}

template <std::size_t D>
void token_shift(reference const&, as<sequence<double const, D>> x, state_tensor<reference, D> before, as<vector<double const, D>> mu,
                 as<sequence<double, D>> y) {
    assert(detail::same_rows(x, y) && detail::apart(x, y));
    detail::each_row_with_before(x, before, [&](std::size_t t, auto const& x_before) {
        detail::row(y, t) = detail::row(x, t) + (x_before - detail::row(x, t)) * detail::map(mu);
    });
}

template <std::size_t D, std::size_t R>
void token_shift(reference const&, as<sequence<double const, D>> x, state_tensor<reference, D> before, as<sequence<double const, R>> h,
                 matrix<double const, R, D> w2, as<vector<double const, D>> mu, as<sequence<double, D>> y) {
    assert(detail::same_rows(x, h, y) && detail::apart(x, y) && detail::apart(h, y));
    detail::each_row_with_before(x, before, [&](std::size_t t, auto const& x_before) {
        typename detail::values<D>::array const mixed = detail::map(mu) + (detail::row(h, t).matrix() * detail::map(w2)).array();
        detail::row(y, t) = detail::row(x, t) + (x_before - detail::row(x, t)) * mixed;
    });
}

template <std::size_t D, std::size_t K>
void token_shift(reference const& be, as<sequence<double const, D>> x, state_tensor<reference, D> before, as<vector<double const, D>> const (&mu)[K],
                 as<sequence<double, D>> const (&y)[K]) {
    for (std::size_t k = 0; k < K; ++k) token_shift(be, x, before, mu[k], y[k]);
}

template <std::size_t D, std::size_t K, std::size_t R>
void token_shift(reference const& be, as<sequence<double const, D>> x, state_tensor<reference, D> before, as<sequence<double const, K * R>> h,
                 tensor<double const, K, R, D> w2, as<vector<double const, D>> const (&mu)[K], as<sequence<double, D>> const (&y)[K]) {
    for (std::size_t k = 0; k < K; ++k) token_shift(be, x, before, {h.data + k * R, h.size, h.stride}, slice(w2, k), mu[k], y[k]);
}

template <std::size_t D>
void keep_last(reference const&, as<sequence<double const, D>> x, state_tensor<reference, D> state) {
    assert(detail::has_rows(x, state.of->first[state.of->size]));
    for (std::size_t i = 0; i < state.of->size; ++i)
        if (state.of->rows(i) > 0) detail::map(state[i]) = detail::row(x, state.of->first[i + 1] - 1);
}

template <std::size_t Out, std::size_t In>
void linear(reference const&, matrix<double const, Out, In> w, as<sequence<double const, In>> x, as<sequence<double, Out>> y) {
    assert(detail::same_rows(x, y) && detail::apart(x, y));
    for (std::size_t t = 0; t < x.size; ++t) detail::row(y, t) = (detail::row(x, t).matrix() * detail::map(w).transpose()).array();
}

template <std::size_t In, std::size_t R>
void lora_down(reference const&, as<sequence<double const, In>> x, matrix<double const, In, R> w1, as<sequence<double, R>> h) {
    assert(detail::same_rows(x, h) && detail::apart(x, h));
    for (std::size_t t = 0; t < x.size; ++t) detail::row(h, t) = (detail::row(x, t).matrix() * detail::map(w1)).array().tanh();
}

template <std::size_t R, std::size_t Out>
void lora_up(reference const&, as<sequence<double const, R>> h, matrix<double const, R, Out> w2, as<sequence<double, Out>> y) {
    assert(detail::same_rows(h, y) && detail::apart(h, y));
    for (std::size_t t = 0; t < h.size; ++t) detail::row(y, t) += (detail::row(h, t).matrix() * detail::map(w2)).array();
}

template <std::size_t In, std::size_t R, std::size_t Out>
void lora(reference const& be, as<sequence<double const, In>> x, matrix<double const, In, R> w1, matrix<double const, R, Out> w2,
          as<sequence<double, Out>> y) {
    assert(detail::same_rows(x, y));
    auto const h = temporary<R>(be, x.size);
    lora_down(be, x, w1, h);
    lora_up(be, h, w2, y);
}
template <std::size_t In, std::size_t R, std::size_t Out>
void lora(reference const& be, as<vector<double const, Out>> v, as<sequence<double const, In>> x, matrix<double const, In, R> w1,
          matrix<double const, R, Out> w2, as<sequence<double, Out>> y) {
    assert(detail::same_rows(x, y) && detail::apart(x, y));
    for (std::size_t t = 0; t < y.size; ++t) detail::row(y, t) = detail::map(v);
    lora(be, x, w1, w2, y);
}

template <std::size_t D>
void decay(reference const&, sequence<double, D> w) {
    for (std::size_t t = 0; t < w.size; ++t) detail::row(w, t) = (-detail::row(w, t).exp()).exp();
}
template <std::size_t D>
void decay(reference const& be, sequence<double, D> w, as<sequence<double, D>> k) {
    assert(detail::same_rows(w, k) && detail::apart(w, k));
    for (std::size_t t = 0; t < k.size; ++t) detail::row(k, t) *= -(-detail::row(w, t).exp()).expm1();
    decay(be, w);
}

template <std::size_t H, std::size_t N>
void wkv6(reference const&, as<sequence<double const, H * N>> r, as<sequence<double const, H * N>> k, as<sequence<double const, H * N>> v,
          as<sequence<double const, H * N>> w, as<matrix<double const, H, N>> u, state_tensor<reference, H, N, N> state,
          as<sequence<double, H * N>> y) {
    assert(detail::same_rows(r, k, v, w, y) && detail::has_rows(r, state.of->first[state.of->size]));
    assert(detail::same_or_apart(r, y) && detail::apart(k, y) && detail::apart(v, y) && detail::apart(w, y));
    constexpr auto n = static_cast<Eigen::Index>(N);
    for (std::size_t i = 0; i < state.of->size; ++i)
        for (std::size_t t = state.of->first[i]; t < state.of->first[i + 1]; ++t)
            for (std::size_t h = 0; h < H; ++h) {
                auto const head = [&](auto const& x) { return detail::row(x, t).segment(static_cast<Eigen::Index>(h) * n, n).matrix(); };
                auto S = detail::map(slice(state[i], h));
                typename detail::values<N>::matrix const kv = head(k).transpose() * head(v);
                typename detail::values<N>::row_vector out = head(r) * S;
                if (u.data != nullptr) out += head(r).cwiseProduct(detail::map(u).row(static_cast<Eigen::Index>(h))) * kv;
                S = head(w).asDiagonal() * S + kv;
                detail::row(y, t).segment(static_cast<Eigen::Index>(h) * n, n) = out.array();
            }
}
template <std::size_t H, std::size_t N>
void wkv6(reference const& be, as<sequence<double const, H * N>> r, as<sequence<double const, H * N>> k, as<sequence<double const, H * N>> v,
          as<sequence<double const, H * N>> w, state_tensor<reference, H, N, N> state, as<sequence<double, H * N>> y) {
    wkv6(be, r, k, v, w, matrix<double const, H, N>{}, state, y);
}

template <std::size_t D>
void add(reference const&, as<sequence<double const, D>> x, sequence<double, D> y) {
    assert(detail::same_rows(x, y));
    for (std::size_t t = 0; t < y.size; ++t) detail::row(y, t) += detail::row(x, t);
}

template <std::size_t D>
void relu_squared(reference const&, sequence<double, D> x) {
    for (std::size_t t = 0; t < x.size; ++t) detail::row(x, t) = detail::row(x, t).max(0).square();
}

template <std::size_t D>
void sigmoid_gate(reference const&, as<sequence<double const, D>> gate, sequence<double, D> x) {
    assert(detail::same_rows(gate, x));
    for (std::size_t t = 0; t < x.size; ++t) detail::row(x, t) /= 1 + (-detail::row(gate, t)).exp();
}

template <std::size_t D>
void silu_gate(reference const& be, as<sequence<double const, D>> gate, sequence<double, D> x) {
    sigmoid_gate(be, gate, x);
    for (std::size_t t = 0; t < x.size; ++t) detail::row(x, t) *= detail::row(gate, t);
}

template <std::size_t N, std::size_t D>
void rope(reference const&, batch<double> const& of, sequence<double, D> x, double base, double rescale) {
    assert(detail::has_rows(x, of.first[of.size]));
    for (std::size_t s = 0; s < of.size; ++s)
        for (std::size_t t = of.first[s]; t < of.first[s + 1]; ++t)
            for (std::size_t i = 0; i < N / 2; ++i) {
                double const position = static_cast<double>(of.position[s] + t - of.first[s]);
                double const angle = position / rescale * std::pow(base, -2.0 * static_cast<double>(i) / N);
                double const c = std::cos(angle), sine = std::sin(angle);
                for (double* p = x[t] + 2 * i; p < x[t] + D; p += N) {
                    double const a = p[0], b = p[1];
                    p[0] = a * c - b * sine;
                    p[1] = a * sine + b * c;
                }
            }
}

template <class Value, std::size_t D>
void pack(reference const&, as<sequence<double const, D>> x, sequence<Value, D> y, float* scales) {
    assert(detail::same_rows(x, y));
    for (std::size_t t = 0; t < x.size; ++t) {
        double inverse = 1;
        if constexpr (std::is_integral_v<Value>) {
            scales[t] = static_cast<float>(detail::row(x, t).abs().maxCoeff() / 127);
            inverse = scales[t] > 0 ? 1 / static_cast<double>(scales[t]) : 0;
        }
        for (std::size_t i = 0; i < D; ++i) {
            if constexpr (std::is_integral_v<Value>)
                y[t][i] = static_cast<Value>(std::lrint(x[t][i] * inverse));
            else
                y[t][i] = static_cast<Value>(x[t][i]);
        }
    }
}

template <class Value, std::size_t D>
void unpack(reference const&, sequence<Value, D> x, float const* scales, as<sequence<double, D>> y) {
    assert(detail::same_rows(x, y));
    for (std::size_t t = 0; t < x.size; ++t)
        for (std::size_t i = 0; i < D; ++i) {
            if constexpr (std::is_integral_v<Value>)
                y[t][i] = static_cast<double>(x[t][i]) * static_cast<double>(scales[t]);
            else
                y[t][i] = static_cast<double>(static_cast<float>(x[t][i]));
        }
}

inline void clear_sums(reference const&, detail::attention_sums<double> const& sums) {
    for (std::size_t t = 0; t < sums.value.size; ++t) {
        std::fill_n(sums.max[t], sums.max.width, -std::numeric_limits<double>::infinity());
        std::fill_n(sums.total[t], sums.total.width, 0.0);
        std::fill_n(sums.value[t], sums.value.width, 0.0);
    }
}

template <class Value, std::size_t A>
void attend_tile(reference const&, as<sequence<double const, A>> q, std::size_t offset, sequence<Value, A> k, as<sequence<Value, A>> v,
                 detail::attention_sums<double> const& sums) {
    std::size_t const H = sums.max.width, N = A / H;
    for (std::size_t i = 0; i < q.size; ++i)
        for (std::size_t j = 0; j < k.size && j < offset + i; ++j)
            for (std::size_t h = 0; h < H; ++h) {
                double score = 0;
                for (std::size_t n = h * N; n < (h + 1) * N; ++n) score += q[i][n] * static_cast<double>(k[j][n]);
                score /= std::sqrt(static_cast<double>(N));
                double const max = std::max(sums.max[i][h], score);
                double const keep = std::exp(sums.max[i][h] - max), p = std::exp(score - max);
                sums.max[i][h] = max;
                sums.total[i][h] = sums.total[i][h] * keep + p;
                for (std::size_t n = h * N; n < (h + 1) * N; ++n) sums.value[i][n] = sums.value[i][n] * keep + p * static_cast<double>(v[j][n]);
            }
}

template <std::size_t A>
void merge_sums(reference const&, detail::attention_sums<double> const* parts, std::size_t count, std::size_t H, sequence<double, A> y) {
    std::size_t const N = A / H;
    for (std::size_t i = 0; i < y.size; ++i)
        for (std::size_t h = 0; h < H; ++h) {
            double max = -std::numeric_limits<double>::infinity(), total = 0;
            for (std::size_t p = 0; p < count; ++p) max = std::max(max, parts[p].max[i][h]);
            for (std::size_t n = h * N; n < (h + 1) * N; ++n) y[i][n] = 0;
            for (std::size_t p = 0; p < count; ++p) {
                double const share = std::exp(parts[p].max[i][h] - max);
                total += parts[p].total[i][h] * share;
                for (std::size_t n = h * N; n < (h + 1) * N; ++n) y[i][n] += parts[p].value[i][n] * share;
            }
            for (std::size_t n = h * N; n < (h + 1) * N; ++n) y[i][n] /= total;
        }
}

template <std::size_t H, std::size_t A, class Tiles>
void softmax_attention(reference const& be, batch<double> const& of, as<sequence<double const, A>> q, Tiles const& tiles, sequence<double, A> y) {
    assert(detail::same_rows(q, y) && detail::has_rows(q, of.first[of.size]) && detail::apart(q, y));
    detail::attend_by_tiles<H>(be, of, q, tiles, y);
}

}  // namespace goldfinch
