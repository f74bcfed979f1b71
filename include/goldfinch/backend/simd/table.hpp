// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <type_traits>

#include <goldfinch/backend/cpu/executor.hpp>
#include <goldfinch/backend/cpu/rows.hpp>
#include <goldfinch/compiler.hpp>
#include <goldfinch/numeric.hpp>

// The kernels of the SIMD backend, as the typed operations see them: what they take, and the table of pointers through which a program
// that holds them for several instruction sets calls them. They know nothing of layers or models: extents are run-time numbers, so each
// is compiled once, not for every shape. operations.hpp (in backend/) says what each operation computes.

namespace goldfinch::detail {

/// Queries, the keys and values of consecutive positions, and the sums to which those are added: query i sees the first
/// `offset + i` keys.
template <class Value>
struct attention_tile {
    std::size_t heads, head_size;
    rows<float const> q;
    rows<Value const> k, v;
    attention_sums<float> sums;
    std::size_t offset;
};

/// Kernels without weights. Conventions as for operations: what is written may be what is read only where it says so.
struct kernel_table {
    char const* instruction_set;

    void (*rms_norm)(cpu_executor const&, rows<float const> x, rows<float> y);  // y may be x
    void (*add)(cpu_executor const&, rows<float const> x, rows<float> y);
    void (*decay)(cpu_executor const&, rows<float> w);
    void (*decay_scaling)(cpu_executor const&, rows<float> w, rows<float> k);  // w = exp(-exp(w)), k *= 1 - w
    void (*relu_squared)(cpu_executor const&, rows<float> x);
    void (*sigmoid_gate)(cpu_executor const&, rows<float const> gate, rows<float> x);
    void (*silu_gate)(cpu_executor const&, rows<float const> gate, rows<float> x);
    void (*rope)(cpu_executor const&, rows<float> x, std::size_t head_size, std::size_t position, double base, double rescale);
    void (*merge)(cpu_executor const&, attention_sums<float> const* parts, std::size_t count, std::size_t heads, rows<float> y);

    void const* weights[16];  ///< weight_kernels<T>, by weight_index<T>
    void const* values[4];    ///< value_kernels<Value>, by value_index<Value>
};

/// Where in a table the kernels of a type are. A weight format of its own specialises weight_type_at in its header, and is then part of
/// every table.
template <std::size_t index>
struct weight_type_at {};
template <>
struct weight_type_at<0> {
    using type = float;
};
template <>
struct weight_type_at<1> {
    using type = half;
};
template <>
struct weight_type_at<2> {
    using type = bf16;
};
template <std::size_t index>
struct value_type_at {};
template <>
struct value_type_at<0> {
    using type = float;
};
template <>
struct value_type_at<1> {
    using type = bf16;
};
template <>
struct value_type_at<2> {
    using type = int8;
};

template <class T, std::size_t i = 0>
consteval std::size_t find_weight() {
    if constexpr (std::is_same_v<T, typename weight_type_at<i>::type>)
        return i;
    else
        return find_weight<T, i + 1>();
}
template <class Value, std::size_t i = 0>
consteval std::size_t find_value() {
    if constexpr (std::is_same_v<Value, typename value_type_at<i>::type>)
        return i;
    else
        return find_value<Value, i + 1>();
}
template <class T>
inline constexpr std::size_t weight_index = find_weight<T>();
template <class Value>
inline constexpr std::size_t value_index = find_value<Value>();

/// Kernels that read weights stored as T: float, half, bf16.
template <class T>
struct weight_kernels {
    void (*widen)(cpu_executor const&, T const* const* from, rows<float> y);  // y_t = the `y.width` elements at from[t]
    void (*layer_norm)(cpu_executor const&, T const* weight, T const* bias, rows<float const> x, rows<float> y, float eps, std::size_t groups);
    // For each of `count` outputs, from one x: y[i]_t = x_t + (before_t - x_t) * mu[i], where before[t] is the row before row t.
    void (*token_shift)(cpu_executor const&, rows<float const> x, float const* const* before, std::size_t count, T const* const* mu,
                        rows<float> const* y);
    // The same with mu[i] + h_t[i * R, (i + 1) * R) w2[i] in the place of mu[i]: h [size, count * R], w2 [count, R, x.width].
    void (*token_shift_lora)(cpu_executor const&, rows<float const> x, float const* const* before, std::size_t count, T const* const* mu,
                             rows<float const> h, T const* w2, rows<float> const* y);
    void (*lora_down)(cpu_executor const&, rows<float const> x, T const* w1, rows<float> h);  // h = tanh(x w1), w1 [in, rank]
    void (*lora_up)(cpu_executor const&, T const* bias, rows<float const> h, T const* w2,
                    rows<float> y);  // y = bias + h w2; y += h w2 without a bias
    void (*wkv6)(cpu_executor const&, std::size_t heads, std::size_t head_size, rows<float const> r, rows<float const> k, rows<float const> v,
                 rows<float const> w, T const* u, state_rows state, rows<float> y);       // u: nullptr, or [heads, head_size]; y may be r
    void (*linear)(cpu_executor const&, T const* w, rows<float const> x, rows<float> y);         // w [y.width, x.width]
    void (*sparse_linear)(cpu_executor const&, T const* w, rows<float const> x, rows<float> y);  // w [x.width, y.width], for x with many zeros
};

/// Kernels on rows as caches keep them: Value is float, bf16 or int8.
template <class Value>
struct value_kernels {
    void (*pack)(cpu_executor const&, rows<float const> x, rows<Value> y, float* scales);
    void (*unpack)(cpu_executor const&, rows<Value const> x, float const* scales, rows<float> y);
    void (*attend)(cpu_executor const&, attention_tile<Value> const& tile);  // works on the calling thread; not for int8
};

}  // namespace goldfinch::detail
