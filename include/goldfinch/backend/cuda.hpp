// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <type_traits>

#include <goldfinch/backend/cuda/memory.hpp>
#include <goldfinch/backend/cuda/runtime.hpp>
#include <goldfinch/backend/cuda/uploads.hpp>
#include <goldfinch/numeric.hpp>
#include <goldfinch/view.hpp>
#include <goldfinch/weight/plain.hpp>
#include <goldfinch/weight/formats.hpp>
#include <goldfinch/weight/quantized.hpp>

namespace goldfinch {

namespace detail {

/// What cuda<Weight> needs to know of a weight format: `plain`, the type of parameters that are no products, and `view<Out, In>`.
template <class Weight>
struct cuda_format {};
template <class Weight>
requires(std::is_same_v<Weight, float> || std::is_same_v<Weight, bf16> || std::is_same_v<Weight, half>) struct cuda_format<Weight> {
    using plain = Weight;
    template <std::size_t Out, std::size_t In>
    using view = matrix<Weight const, Out, In>;
};
template <class Weight>
requires(packed_bits<Weight> != 0) struct cuda_format<Weight> {
    using plain = bf16;
    template <std::size_t Out, std::size_t In>
    using view = quantized_matrix<packed_bits<Weight>, Out, In>;
};

template <class Weight>
concept has_cuda_format = requires {
    typename cuda_format<Weight>::plain;
};

}  // namespace detail

/// The CUDA backend: weights stored as Weight (float, bf16, half or a weight format such as int8) in the memory of a GPU, states and sums in float32. A program needs one source file
/// that nvcc compiles, with <goldfinch/cuda.cuh> and `template class goldfinch::model<...>` for each of its models (goldfinch_cuda() in CMake); all others
/// include <goldfinch/cuda.hpp> and declare these models `extern template`. Making a model throws cuda_error where there is no GPU or no driver. A session's
/// memory is the model's device's. The device and the stream are load_options; calls of several threads on one model take turns.
template <class Weight>
struct cuda : cuda_executor {
    static_assert(detail::has_cuda_format<Weight>, "goldfinch: cuda<Weight> takes float, goldfinch::bf16, goldfinch::half or a weight format such as goldfinch::int8");
    using format = detail::cuda_format<Weight>;
    using weight = typename format::plain;  ///< what weights are stored as that are no products
    using scalar = float;                   ///< what activations, states and sums are
    template <std::size_t Out, std::size_t In>
    using linear_weights = typename format::template view<Out, In>;
    template <std::size_t Out, std::size_t In>
    using sparse_input_weights = linear_weights<Out, In>;
    template <class T>
    using buffer = cuda_buffer<T>;
    using runtime = cuda_runtime;
    using uploads = detail::cuda_uploads;
    static constexpr bool on_host = false;
    static constexpr std::size_t most_kept_bytes = std::size_t{256} << 20;
    static constexpr bool keeps_rebuilt = true;
    static constexpr std::size_t tokens_a_pass = 1024;  ///< so many that products take longer than reading their weights

    explicit cuda(cuda_executor const& at) : cuda_executor(at) {}

    static void upload(void* to, void const* host, std::size_t bytes) { detail::cuda_driver<>::upload(to, host, bytes); }
    static void download(void const* from, void* host, std::size_t bytes) { detail::cuda_driver<>::download(from, host, bytes); }
    static void clear(void* to, std::size_t bytes) { detail::cuda_driver<>::clear(to, bytes); }
};

}  // namespace goldfinch

#include <goldfinch/backend/cuda/operations.hpp>

#include <goldfinch/backend/cuda/attention.hpp>
#include <goldfinch/backend/cuda/functions.hpp>
