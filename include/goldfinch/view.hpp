// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <type_traits>

namespace goldfinch {

/// A dense row-major view with static extents over memory that somebody else owns: weights and states. One pointer.
template <class T, std::size_t... Extents>
struct tensor {
    using value_type = T;
    static constexpr std::size_t rank = sizeof...(Extents);
    static constexpr std::array<std::size_t, rank> extents{Extents...};
    static constexpr std::size_t size = (Extents * ... * 1);

    T* data = nullptr;

    constexpr T& operator[](std::size_t i) const
        requires(rank == 1)
    {
        return data[i];
    }
    constexpr operator tensor<T const, Extents...>() const
        requires(!std::is_const_v<T>)
    {
        return {data};
    }
};

/// [N]
template <class T, std::size_t N>
using vector = tensor<T, N>;

/// [Rows, Cols]
template <class T, std::size_t Rows, std::size_t Cols>
using matrix = tensor<T, Rows, Cols>;

/// The i-th slice along the first extent of a tensor of rank 3: a matrix.
template <class T, std::size_t K, std::size_t Rows, std::size_t Cols>
constexpr matrix<T, Rows, Cols> slice(tensor<T, K, Rows, Cols> const& t, std::size_t i) {
    return {t.data + i * Rows * Cols};
}

/// [size, Width]: one row a token, rows `stride` apart. A view; the number of tokens is known at run time only.
template <class T, std::size_t Width>
struct sequence {
    using value_type = T;
    static constexpr std::size_t width = Width;

    T* data = nullptr;
    std::size_t size = 0;
    std::size_t stride = Width;

    constexpr T* operator[](std::size_t t) const { return data + t * stride; }
    constexpr sequence first(std::size_t n) const { return {data, n, stride}; }
    constexpr sequence from(std::size_t t) const { return {data + t * stride, size - t, stride}; }
    constexpr sequence rows(std::size_t t, std::size_t n) const { return {data + t * stride, n, stride}; }

    /// Channels [First, First + Count) of every row.
    template <std::size_t First, std::size_t Count>
    constexpr sequence<T, Count> channels() const {
        static_assert(First + Count <= Width);
        return {data + First, size, stride};
    }
    constexpr operator sequence<T const, Width>() const
        requires(!std::is_const_v<T>)
    {
        return {data, size, stride};
    }
};

/// An operation's parameter of this type takes any view that converts to it; its extents are those of the weights.
template <class T>
using as = std::type_identity_t<T>;

}  // namespace goldfinch
