// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <goldfinch/backend/simd/instruction_set.hpp>
#include <goldfinch/backend/simd/table.hpp>

// How typed operations call kernels: by name, or through the table of the chosen instruction set in a program that holds several.
//
//     GOLDFINCH_KERNEL(add)(at, x, y);
//     GOLDFINCH_WEIGHT_KERNEL(T, linear)(at, w, x, y);         // T: what weights are stored as
//     GOLDFINCH_VALUE_KERNEL(Value, pack)(at, x, y, scales);   // Value: what a cache stores

#if defined(GOLDFINCH_DISPATCH)

#define GOLDFINCH_KERNEL(name) (::goldfinch::detail::kernels().name)
#define GOLDFINCH_WEIGHT_KERNEL(T, name) (::goldfinch::detail::weight_kernels_of<T>().name)
#define GOLDFINCH_VALUE_KERNEL(Value, name) (::goldfinch::detail::value_kernels_of<Value>().name)

namespace goldfinch::detail {

template <class T>
weight_kernels<T> const& weight_kernels_of(kernel_table const& table = kernels()) {
    return *static_cast<weight_kernels<T> const*>(table.weights[weight_index<T>]);
}
template <class Value>
value_kernels<Value> const& value_kernels_of(kernel_table const& table = kernels()) {
    return *static_cast<value_kernels<Value> const*>(table.values[value_index<Value>]);
}

}  // namespace goldfinch::detail

#else

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

#define GOLDFINCH_KERNEL(name) ::goldfinch::GOLDFINCH_TARGET::kernel::name
#define GOLDFINCH_WEIGHT_KERNEL(T, name) ::goldfinch::GOLDFINCH_TARGET::kernel::name<T>
#define GOLDFINCH_VALUE_KERNEL(Value, name) ::goldfinch::GOLDFINCH_TARGET::kernel::name<Value>

#endif
