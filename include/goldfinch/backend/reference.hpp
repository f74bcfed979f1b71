// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <type_traits>

#include <goldfinch/backend/attention_sums.hpp>
#include <goldfinch/backend/cpu.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/numeric.hpp>
#include <goldfinch/view.hpp>

#include <Eigen/Core>

namespace goldfinch {

/// The oracle: every operation in plain Eigen and float64, slow and obvious. It is also the list of what a backend offers;
/// other backends hold to it within rounding.
///
/// Conventions: x and y are sequences, one row a token. Where y may be x, it says so. An operation allocates nothing that
/// outlives it and returns nothing.
struct reference : cpu_executor {
    using weight = double;  ///< what weights are stored as
    using scalar = double;  ///< what activations, states and sums are
    using runtime = cpu_runtime;
    template <class T>
    using buffer = aligned_vector<T>;

    explicit reference(cpu_executor const& at) : cpu_executor(at) {}
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
/// The row before row t of x, where prev stands before the first.
template <class T, std::size_t Width>
typename values<Width>::array row_before(sequence<T, Width> const& x, vector<double const, Width> prev, std::size_t t) {
    using array = typename values<Width>::array;
    return t == 0 ? array(map(prev)) : array(row(x, t - 1));
}

}  // namespace detail

/// y_t = table[tokens_t]
template <std::size_t V, std::size_t D>
void embed(reference const&, matrix<double const, V, D> table, std::span<token const> tokens, as<sequence<double, D>> y) {
    for (std::size_t t = 0; t < y.size; ++t) detail::row(y, t) = detail::map(table).row(tokens[t]).array();
}

/// LayerNorm in each of `groups` equal runs of channels: y = (x - mean) / sqrt(variance + eps) * weight + bias. y may be x.
template <std::size_t D>
void layer_norm(reference const&, vector<double const, D> weight, vector<double const, D> bias, as<sequence<double const, D>> x,
                as<sequence<double, D>> y, double eps = 1e-5, std::size_t groups = 1) {
    auto const n = static_cast<Eigen::Index>(D / groups);
    for (std::size_t t = 0; t < x.size; ++t) {
        for (Eigen::Index g = 0; g < static_cast<Eigen::Index>(groups); ++g) {
            typename detail::values<D>::array const z = detail::row(x, t).segment(g * n, n) - detail::row(x, t).segment(g * n, n).mean();
            detail::row(y, t).segment(g * n, n) = z / std::sqrt(z.square().mean() + eps);
        }
        detail::row(y, t) = detail::row(y, t) * detail::map(weight) + detail::map(bias);
    }
}

/// y = x / (||x|| / sqrt(D) + 1e-8). y may be x.
template <std::size_t D>
void rms_norm(reference const&, as<sequence<double const, D>> x, sequence<double, D> y) {
    for (std::size_t t = 0; t < x.size; ++t) detail::row(y, t) = detail::row(x, t) / (std::sqrt(detail::row(x, t).square().mean()) + 1e-8);
}

/// Token shift: y_t = x_t + (x_{t-1} - x_t) * mu, where x_{-1} = prev.
template <std::size_t D>
void token_shift(reference const&, as<sequence<double const, D>> x, as<vector<double const, D>> prev, vector<double const, D> mu,
                 as<sequence<double, D>> y) {
    for (std::size_t t = 0; t < x.size; ++t)
        detail::row(y, t) = detail::row(x, t) + (detail::row_before(x, prev, t) - detail::row(x, t)) * detail::map(mu);
}

/// Data-dependent token shift: y_t = x_t + (x_{t-1} - x_t) * (mu + h_t w2), where x_{-1} = prev.
template <std::size_t R, std::size_t D>
void token_shift(reference const&, as<sequence<double const, D>> x, as<vector<double const, D>> prev, as<vector<double const, D>> mu,
                 as<sequence<double const, R>> h, matrix<double const, R, D> w2, as<sequence<double, D>> y) {
    for (std::size_t t = 0; t < x.size; ++t) {
        typename detail::values<D>::array const mix = detail::map(mu) + (detail::row(h, t).matrix() * detail::map(w2)).array();
        detail::row(y, t) = detail::row(x, t) + (detail::row_before(x, prev, t) - detail::row(x, t)) * mix;
    }
}

/// prev = the last row of x; unchanged if there is none.
template <std::size_t D>
void keep_last(reference const&, as<sequence<double const, D>> x, vector<double, D> prev) {
    if (x.size > 0) detail::map(prev) = detail::row(x, x.size - 1);
}

/// y_t = w x_t for w stored [out, in].
template <std::size_t Out, std::size_t In>
void linear(reference const&, matrix<double const, Out, In> w, as<sequence<double const, In>> x, as<sequence<double, Out>> y) {
    for (std::size_t t = 0; t < x.size; ++t) detail::row(y, t) = (detail::row(x, t).matrix() * detail::map(w).transpose()).array();
}

/// h_t = tanh(x_t w1) for w1 stored [in, rank].
template <std::size_t In, std::size_t R>
void lora_down(reference const&, as<sequence<double const, In>> x, matrix<double const, In, R> w1, as<sequence<double, R>> h) {
    for (std::size_t t = 0; t < x.size; ++t) detail::row(h, t) = (detail::row(x, t).matrix() * detail::map(w1)).array().tanh();
}

/// y_t += h_t w2 for w2 stored [rank, out].
template <std::size_t R, std::size_t Out>
void lora_up(reference const&, as<sequence<double const, R>> h, matrix<double const, R, Out> w2, as<sequence<double, Out>> y) {
    for (std::size_t t = 0; t < h.size; ++t) detail::row(y, t) += (detail::row(h, t).matrix() * detail::map(w2)).array();
}

/// y_t = v for all t.
template <std::size_t D>
void repeat_row(reference const&, vector<double const, D> v, as<sequence<double, D>> y) {
    for (std::size_t t = 0; t < y.size; ++t) detail::row(y, t) = detail::map(v);
}

/// The decay of a channel: w = exp(-exp(w)), in place.
template <std::size_t D>
void decay(reference const&, sequence<double, D> w) {
    for (std::size_t t = 0; t < w.size; ++t) detail::row(w, t) = (-detail::row(w, t).exp()).exp();
}

/// k = k * (1 - w), in place.
template <std::size_t D>
void scale_by_one_minus(reference const&, as<sequence<double const, D>> w, sequence<double, D> k) {
    for (std::size_t t = 0; t < k.size; ++t) detail::row(k, t) *= 1 - detail::row(w, t);
}

/// The recurrence of RWKV-6 per head, state S [key channel][value channel]: y_t = r_t S, then S = diag(w_t) S + k_t^T v_t.
/// With a bonus u, y_t = r_t (S + diag(u) k_t^T v_t). y may be r.
template <std::size_t H, std::size_t N>
void wkv6(reference const&, as<sequence<double const, H * N>> r, as<sequence<double const, H * N>> k, as<sequence<double const, H * N>> v,
          as<sequence<double const, H * N>> w, as<matrix<double const, H, N>> u, tensor<double, H, N, N> state, as<sequence<double, H * N>> y) {
    constexpr auto n = static_cast<Eigen::Index>(N);
    for (std::size_t t = 0; t < r.size; ++t)
        for (std::size_t h = 0; h < H; ++h) {
            auto const head = [&](auto const& x) { return detail::row(x, t).segment(static_cast<Eigen::Index>(h) * n, n).matrix(); };
            auto S = detail::map(slice(state, h));
            typename detail::values<N>::matrix const kv = head(k).transpose() * head(v);
            typename detail::values<N>::row_vector out = head(r) * S;
            if (u.data != nullptr) out += head(r).cwiseProduct(detail::map(u).row(static_cast<Eigen::Index>(h))) * kv;
            S = head(w).asDiagonal() * S + kv;
            detail::row(y, t).segment(static_cast<Eigen::Index>(h) * n, n) = out.array();
        }
}
template <std::size_t H, std::size_t N>
void wkv6(reference const& be, as<sequence<double const, H * N>> r, as<sequence<double const, H * N>> k, as<sequence<double const, H * N>> v,
          as<sequence<double const, H * N>> w, tensor<double, H, N, N> state, as<sequence<double, H * N>> y) {
    wkv6(be, r, k, v, w, matrix<double const, H, N>{}, state, y);
}

/// y += x
template <std::size_t D>
void add(reference const&, as<sequence<double const, D>> x, sequence<double, D> y) {
    for (std::size_t t = 0; t < y.size; ++t) detail::row(y, t) += detail::row(x, t);
}

/// x = max(x, 0)^2, in place.
template <std::size_t D>
void relu_squared(reference const&, sequence<double, D> x) {
    for (std::size_t t = 0; t < x.size; ++t) detail::row(x, t) = detail::row(x, t).max(0).square();
}

/// x = sigmoid(gate) * x, in place.
template <std::size_t D>
void sigmoid_gate(reference const&, as<sequence<double const, D>> gate, sequence<double, D> x) {
    for (std::size_t t = 0; t < x.size; ++t) detail::row(x, t) /= 1 + (-detail::row(gate, t)).exp();
}

/// x = gate * sigmoid(gate) * x, in place.
template <std::size_t D>
void silu_gate(reference const& be, as<sequence<double const, D>> gate, sequence<double, D> x) {
    sigmoid_gate(be, gate, x);
    for (std::size_t t = 0; t < x.size; ++t) detail::row(x, t) *= detail::row(gate, t);
}

/// y_t = a_t followed by b_t.
template <class T, class U, std::size_t A, std::size_t B>
void concat(reference const&, sequence<T, A> a, sequence<U, B> b, as<sequence<double, A + B>> y) {
    for (std::size_t t = 0; t < y.size; ++t) {
        detail::row(y.template channels<0, A>(), t) = detail::row(a, t);
        detail::row(y.template channels<A, B>(), t) = detail::row(b, t);
    }
}

/// Copies rows.
template <std::size_t D>
void copy(reference const&, as<sequence<double const, D>> x, sequence<double, D> y) {
    for (std::size_t t = 0; t < y.size; ++t) detail::row(y, t) = detail::row(x, t);
}

/// Rotary embedding of every head of N channels, in place: pair (2i, 2i+1) of the row at position p turns by
/// p / rescale * base^(-2i/N). `position` is the first row's.
template <std::size_t N, std::size_t D>
void rope(reference const&, sequence<double, D> x, std::size_t position, double base, double rescale) {
    for (std::size_t t = 0; t < x.size; ++t)
        for (std::size_t i = 0; i < N / 2; ++i) {
            double const angle = static_cast<double>(position + t) / rescale * std::pow(base, -2.0 * static_cast<double>(i) / N);
            double const c = std::cos(angle), s = std::sin(angle);
            for (double* p = x[t] + 2 * i; p < x[t] + D; p += N) {
                double const a = p[0], b = p[1];
                p[0] = a * c - b * s;
                p[1] = a * s + b * c;
            }
        }
}

/// Rows as a cache keeps them. Integers carry a scale a row: value = integer * scale, scale = largest magnitude / 127.
template <class Value, std::size_t D>
void pack(reference const&, as<sequence<double const, D>> x, sequence<Value, D> y, float* scales) {
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

/// The inverse of pack.
template <class Value, std::size_t D>
void unpack(reference const&, sequence<Value, D> x, float const* scales, as<sequence<double, D>> y) {
    for (std::size_t t = 0; t < x.size; ++t)
        for (std::size_t i = 0; i < D; ++i) {
            if constexpr (std::is_integral_v<Value>)
                y[t][i] = static_cast<double>(x[t][i]) * static_cast<double>(scales[t]);
            else
                y[t][i] = static_cast<double>(static_cast<float>(x[t][i]));
        }
}

/// Sums of no keys.
template <std::size_t H, std::size_t A>
void clear(reference const&, attention_sums<double, H, A> const& sums) {
    for (std::size_t t = 0; t < sums.value.size; ++t) {
        detail::row(sums.max, t) = -std::numeric_limits<double>::infinity();
        detail::row(sums.total, t) = 0;
        detail::row(sums.value, t) = 0;
    }
}

/// Adds keys and values to the sums of the queries at or after them (causal, bottom-right): row i of q is the query at
/// position q_position + i, row j of k and v the key and value at k_position + j. score = q . k / sqrt(A / H) per head.
template <class Value, std::size_t H, std::size_t A>
void attend(reference const&, as<sequence<double const, A>> q, std::size_t q_position, sequence<Value, A> k, as<sequence<Value, A>> v,
            std::size_t k_position, attention_sums<double, H, A> const& sums) {
    constexpr std::size_t N = A / H;
    for (std::size_t i = 0; i < q.size; ++i)
        for (std::size_t j = 0; j < k.size && k_position + j <= q_position + i; ++j)
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

/// Joins sums over disjoint keys, in order, and divides: y_t = value / total. At least one of them holds keys for every query.
template <std::size_t H, std::size_t A>
void merge(reference const&, std::span<attention_sums<double, H, A> const> parts, as<sequence<double, A>> y) {
    constexpr std::size_t N = A / H;
    for (std::size_t i = 0; i < y.size; ++i)
        for (std::size_t h = 0; h < H; ++h) {
            double max = -std::numeric_limits<double>::infinity(), total = 0;
            for (auto const& part : parts) max = std::max(max, part.max[i][h]);
            for (std::size_t n = h * N; n < (h + 1) * N; ++n) y[i][n] = 0;
            for (auto const& part : parts) {
                double const share = std::exp(part.max[i][h] - max);
                total += part.total[i][h] * share;
                for (std::size_t n = h * N; n < (h + 1) * N; ++n) y[i][n] += part.value[i][n] * share;
            }
            for (std::size_t n = h * N; n < (h + 1) * N; ++n) y[i][n] /= total;
        }
}

/// Reads results back to the host: y [T, D] = x as floats.
template <std::size_t D>
void read(reference const&, sequence<double, D> x, float* y) {
    for (std::size_t t = 0; t < x.size; ++t)
        for (std::size_t i = 0; i < D; ++i) y[t * D + i] = static_cast<float>(x[t][i]);
}

}  // namespace goldfinch
