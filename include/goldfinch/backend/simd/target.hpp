// SPDX-License-Identifier: Apache-2.0
#pragma once

// The table of one instruction set, in a program that holds several. goldfinch_dispatch() in CMake writes a source file for each set,
// which names it in GOLDFINCH_EXPECTED_SET, includes this, and is compiled with that set's flags.

#include <cstddef>

#include <goldfinch/compiled_for.hpp>

#if !defined(GOLDFINCH_EXPECTED_SET)  // as where somebody only checks that this compiles
#define GOLDFINCH_EXPECTED_SET GOLDFINCH_TARGET
#endif

// Functions of xsimd are inline and named alike for every set: in a namespace renamed for this one, none is merged with another's.
#define xsimd GOLDFINCH_JOIN(goldfinch_xsimd_, GOLDFINCH_TARGET)

#include <goldfinch/backend/simd/kernels/attention.hpp>
#include <goldfinch/backend/simd/kernels/elementwise.hpp>
#include <goldfinch/backend/simd/kernels/linear.hpp>
#include <goldfinch/backend/simd/kernels/lora.hpp>
#include <goldfinch/backend/simd/kernels/norm.hpp>
#include <goldfinch/backend/simd/kernels/pack.hpp>
#include <goldfinch/backend/simd/kernels/quantized.hpp>
#include <goldfinch/backend/simd/kernels/rope.hpp>
#include <goldfinch/backend/simd/kernels/sparse.hpp>
#include <goldfinch/backend/simd/kernels/sparse_integers.hpp>
#include <goldfinch/backend/simd/kernels/token_shift.hpp>
#include <goldfinch/backend/simd/kernels/wkv6.hpp>
#include <goldfinch/weight/formats.hpp>

namespace goldfinch {
inline namespace GOLDFINCH_TARGET {
namespace kernel {

constexpr bool same_text(char const* a, char const* b) {
    for (; *a == *b; ++a, ++b)
        if (*a == 0) return true;
    return false;
}
static_assert(same_text(GOLDFINCH_TEXT(GOLDFINCH_TARGET), GOLDFINCH_TEXT(GOLDFINCH_EXPECTED_SET)),
              "goldfinch: this file must be compiled for " GOLDFINCH_TEXT(GOLDFINCH_EXPECTED_SET) " and nothing else, but the compiler flags make it "
              GOLDFINCH_TEXT(GOLDFINCH_TARGET) "; take -m flags out of CMAKE_CXX_FLAGS and the target's compile options");

/// What this set has for weights stored as T. Formats whose elements are no numbers by themselves have products and nothing else.
template <class T>
inline constexpr detail::weight_kernels<T> weight_functions = [] {
    detail::weight_kernels<T> f{};
    f.linear = linear<T>;
    f.sparse_linear = sparse_linear<T>;
    if constexpr (element<T>) {
        f.widen = widen<T>;
        f.layer_norm = layer_norm<T>;
        f.token_shift = token_shift<T>;
        f.token_shift_lora = token_shift_lora<T>;
        f.lora_down = lora_down<T>;
        f.lora_up = lora_up<T>;
        f.wkv6 = wkv6<T>;
    }
    return f;
}();

/// What this set has for caches of Value. There is no attention over integers: caches unpack them first.
template <class Value>
inline constexpr detail::value_kernels<Value> value_functions = [] {
    detail::value_kernels<Value> f{};
    f.pack = pack<Value>;
    f.unpack = unpack<Value>;
    if constexpr (element<Value>) f.attend = attend<Value>;
    return f;
}();

template <std::size_t i = 0>
constexpr void fill_weights(detail::kernel_table& table) {
    if constexpr (requires { typename detail::weight_type_at<i>::type; }) {
        table.weights[i] = &weight_functions<typename detail::weight_type_at<i>::type>;
        fill_weights<i + 1>(table);
    }
}
template <std::size_t i = 0>
constexpr void fill_values(detail::kernel_table& table) {
    if constexpr (requires { typename detail::value_type_at<i>::type; }) {
        table.values[i] = &value_functions<typename detail::value_type_at<i>::type>;
        fill_values<i + 1>(table);
    }
}

inline constexpr detail::kernel_table table = [] {
    detail::kernel_table t{};
    t.instruction_set = GOLDFINCH_TEXT(GOLDFINCH_SET);
    t.rms_norm = rms_norm;
    t.add = add;
    t.decay = decay;
    t.decay_scaling = decay_scaling;
    t.relu_squared = relu_squared;
    t.sigmoid_gate = sigmoid_gate;
    t.silu_gate = silu_gate;
    t.rope = rope;
    t.merge = merge;
    fill_weights(t);
    fill_values(t);
    return t;
}();

}  // namespace kernel
}  // namespace GOLDFINCH_TARGET

namespace detail {

kernel_table const& GOLDFINCH_JOIN(kernels_, GOLDFINCH_TARGET)();
kernel_table const& GOLDFINCH_JOIN(kernels_, GOLDFINCH_TARGET)() { return kernel::table; }

}  // namespace detail
}  // namespace goldfinch
