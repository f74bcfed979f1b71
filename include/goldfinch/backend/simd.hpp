// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <type_traits>

#include <goldfinch/backend/cpu.hpp>
#include <goldfinch/backend/simd/instruction_set.hpp>
#include <goldfinch/compiled_for.hpp>
#include <goldfinch/numeric.hpp>
#include <goldfinch/view.hpp>
#include <goldfinch/weight/plain.hpp>
#include <goldfinch/weight/quantized.hpp>

namespace goldfinch {

namespace detail {

/// What simd<Weight> needs to know of a weight format: `plain`, the type of parameters that are no products, `view<Out, In>`,
/// and perhaps `sparse_input_view<Out, In>`, of products whose input is often zero.
template <class Weight>
struct simd_format {};

template <class Weight>
requires(std::is_same_v<Weight, float> || std::is_same_v<Weight, bf16> || std::is_same_v<Weight, half>) struct simd_format<Weight> {
    using plain = Weight;
    template <std::size_t Out, std::size_t In>
    using view = matrix<Weight const, Out, In>;
    template <std::size_t Out, std::size_t In>
    using sparse_input_view = transposed_matrix<Weight const, Out, In>;
};

template <class Weight>
requires(packed_bits<Weight> != 0) struct simd_format<Weight> {
    using plain = bf16;
    template <std::size_t Out, std::size_t In>
    using view = quantized_matrix<packed_bits<Weight>, Out, In>;
    template <std::size_t Out, std::size_t In>
    using sparse_input_view = transposed_quantized_matrix<packed_bits<Weight>, Out, In>;
};

/// sparse_input_view where a format has one, else view.
template <class Format, std::size_t Out, std::size_t In>
struct simd_sparse_view {
    using type = typename Format::template view<Out, In>;
};
template <class Format, std::size_t Out, std::size_t In>
requires requires { typename Format::template sparse_input_view<Out, In>; }
struct simd_sparse_view<Format, Out, In> {
    using type = typename Format::template sparse_input_view<Out, In>;
};

template <class Weight>
concept has_simd_format = requires {
    typename simd_format<Weight>::plain;
};

}  // namespace detail

inline namespace GOLDFINCH_SIMD_NAMESPACE {

/// The SIMD backend: weights stored as Weight, everything else in float32. Kernels use the widest vectors of the instruction set
/// (instruction_set()), and the model's threads. Results do not depend on the number of threads.
template <class Weight>
struct simd : cpu_backend {
    static_assert(detail::has_simd_format<Weight>,
                  "goldfinch: simd<Weight> takes float, goldfinch::bf16, goldfinch::half or a weight format such as goldfinch::int8");
    using format = detail::simd_format<Weight>;
    using weight = typename format::plain;  ///< what weights are stored as that are no products
    using scalar = float;                   ///< what activations, states and sums are
    template <std::size_t Out, std::size_t In>
    using linear_weights = typename format::template view<Out, In>;
    template <std::size_t Out, std::size_t In>
    using sparse_input_weights = typename detail::simd_sparse_view<format, Out, In>::type;

    /// Throws config_error where the program has no kernels for the instruction set (GOLDFINCH_ISA), when a model is made.
    struct runtime : cpu_runtime {
        explicit runtime(std::size_t threads = 0) : cpu_runtime(threads) { detail::require_instruction_set(); }
    };

    // Whoever has threads and no model gets here first: the system wants to be asked before AMX is used.
    explicit simd(cpu_executor const& at) : cpu_backend(at) { detail::require_instruction_set(); }
};

}  // namespace GOLDFINCH_SIMD_NAMESPACE
}  // namespace goldfinch

#include <goldfinch/backend/simd/operations.hpp>
