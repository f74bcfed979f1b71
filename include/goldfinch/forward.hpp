// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <goldfinch/compiled_for.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/numeric.hpp>

// Names that others mention before, or without, their definition: the default arguments of a model.

namespace goldfinch {

inline namespace GOLDFINCH_SIMD_NAMESPACE {
template <class Weight>
struct simd;
}

template <class Value = bf16>
struct compressed_keys;

template <class... Parts>
struct stack;

namespace detail {
template <class Model>
class session_batch;
template <class Model>
struct counted;
template <config C>
struct default_stack;
}  // namespace detail

/// The paper's model: Finch-C2 blocks, TokenCat, GOLD blocks (architectures.hpp).
template <config C>
using goldfinch_stack = typename detail::default_stack<C>::type;

template <config C, class Backend = simd<bf16>, class Cache = compressed_keys<>, class Stack = goldfinch_stack<C>>
class model;
template <class Model>
class session;

}  // namespace goldfinch
