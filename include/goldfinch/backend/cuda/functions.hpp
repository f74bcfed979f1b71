// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <type_traits>
#include <utility>

#include <goldfinch/backend/cuda.hpp>
#include <goldfinch/backend/cuda/kernels.hpp>
#include <goldfinch/batch.hpp>
#include <goldfinch/view.hpp>

// transform and scan (operations.hpp) of cuda<Weight>: a thread a channel, with the function in a kernel of its own.

namespace goldfinch {

namespace detail {

/// What a kernel gets for an argument of transform or scan whose rows are as wide as Width: at(t, c, state) is what the function gets at row t and channel c of a
/// sequence with that state.
template <std::size_t Width, class Argument>
struct cuda_argument;

/// Rows: the element. Rows narrower than Width have a value for each of as many equal runs of channels.
template <std::size_t Width, class T, std::size_t W>
struct cuda_argument<Width, sequence<T, W>> {
    static_assert(Width % W == 0, "goldfinch: the rows of transform and scan must be as wide as the widest, or divide it");
    T* data;
    std::size_t stride;
    explicit cuda_argument(sequence<T, W> const& x) : data(x.data), stride(x.stride) {}
    constexpr T& at(std::size_t t, std::size_t c, float*) const { return data[t * stride + (W == Width ? c : c / (Width / W))]; }
};
/// A parameter [Width].
template <std::size_t Width, class T>
struct cuda_argument<Width, tensor<T, Width>> {
    T* data;
    explicit cuda_argument(tensor<T, Width> const& x) : data(x.data) {}
    constexpr float at(std::size_t, std::size_t c, float*) const { return static_cast<float>(data[c]); }
};
/// A parameter [Width, K]: K numbers of a channel.
template <std::size_t Width, class T, std::size_t K>
struct cuda_argument<Width, tensor<T, Width, K>> {
    T* data;
    explicit cuda_argument(tensor<T, Width, K> const& x) : data(x.data) {}
    constexpr std::array<float, K> at(std::size_t, std::size_t c, float*) const {
        std::array<float, K> result{};
        for (std::size_t k = 0; k < K; ++k) result[k] = static_cast<float>(data[c * K + k]);
        return result;
    }
};
/// A state [Width]: a number of a channel that goes on from row to row.
template <std::size_t Width, class Backend>
struct cuda_argument<Width, state_tensor<Backend, Width>> {
    std::size_t offset;
    explicit cuda_argument(state_tensor<Backend, Width> const& x) : offset(x.offset) {}
    constexpr float& at(std::size_t, std::size_t c, float* state) const { return state[offset + c]; }
};

/// The view that an argument is: a class derived from one is that.
template <class T, std::size_t W>
sequence<T, W> cuda_view(sequence<T, W> const& x) { return x; }
template <class T, std::size_t... E>
tensor<T, E...> cuda_view(tensor<T, E...> const& x) { return x; }
template <class Backend, std::size_t... E>
state_tensor<Backend, E...> cuda_view(state_tensor<Backend, E...> const& x) { return x; }
template <class Argument>
using cuda_view_of = decltype(cuda_view(std::declval<Argument const&>()));

template <class T, std::size_t W>
constexpr std::size_t cuda_row_width(sequence<T, W> const*) { return W; }
constexpr std::size_t cuda_row_width(void const*) { return 0; }
template <class... Arguments>
inline constexpr std::size_t cuda_widest = std::max({cuda_row_width(static_cast<cuda_view_of<Arguments> const*>(nullptr))...});

template <class T, std::size_t W, class... Rest>
std::size_t cuda_row_count(sequence<T, W> const& x, Rest const&...) { return x.size; }
template <class First, class... Rest>
std::size_t cuda_row_count(First const&, Rest const&... rest) { return cuda_row_count(rest...); }

/// The kernels, for arguments as cuda_argument.
template <class F, class... Arguments>
struct cuda_functions {
    static void transform(cuda_executor const& at, F const& f, std::size_t rows, std::size_t width, Arguments const&... arguments);
    static void scan(cuda_executor const& at, F const& f, std::size_t width, cuda_sequences const& of, Arguments const&... arguments);
};

}  // namespace detail

template <class Weight, class F, class... Arguments>
void transform(cuda<Weight> const& be, F const& f, Arguments const&... arguments) {
    constexpr std::size_t width = detail::cuda_widest<Arguments...>;
    detail::cuda_functions<F, detail::cuda_argument<width, detail::cuda_view_of<Arguments>>...>::transform(
        be, f, detail::cuda_row_count(detail::cuda_view(arguments)...), width,
        detail::cuda_argument<width, detail::cuda_view_of<Arguments>>(detail::cuda_view(arguments))...);
}

template <class Weight, class F, std::size_t Width, class... Arguments>
void scan(cuda<Weight> const& be, F const& f, state_tensor<cuda<Weight>, Width> state, Arguments const&... arguments) {
    static_assert(detail::cuda_widest<Arguments...> == Width, "goldfinch: scan needs rows as wide as its state");
    detail::each_group(*state.of, 0, [&](detail::cuda_sequences const& of) {
        detail::cuda_functions<F, detail::cuda_argument<Width, state_tensor<cuda<Weight>, Width>>, detail::cuda_argument<Width, detail::cuda_view_of<Arguments>>...>::scan(
            be, f, Width, of, detail::cuda_argument<Width, state_tensor<cuda<Weight>, Width>>(state),
            detail::cuda_argument<Width, detail::cuda_view_of<Arguments>>(detail::cuda_view(arguments))...);
    });
}

}  // namespace goldfinch
