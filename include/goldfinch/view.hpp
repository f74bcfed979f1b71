// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <type_traits>

// Views of memory that somebody else owns, their extents in their types. Whose memory it is depends on the backend: outside of one, a
// view is passed on and never read.

namespace goldfinch {

/// A dense row-major view with static extents: weights, and one tensor of a sequence's state. One pointer.
template <class T, std::size_t... Extents>
struct tensor {
    using value_type = T;
    static constexpr std::size_t rank = sizeof...(Extents);
    static constexpr std::array<std::size_t, rank> extents{Extents...};
    static constexpr std::size_t size = (Extents * ... * 1);

    T* data = nullptr;

    constexpr tensor() = default;
    constexpr tensor(T* p) : data(p) {}
    /// Of memory that may be written, as one that is only read.
    template <class U>
    requires(std::is_same_v<U const, T>) constexpr tensor(tensor<U, Extents...> const& other) : data(other.data) {}
};

/// [N]
template <class T, std::size_t N>
using vector = tensor<T, N>;

/// [Rows, Cols]
template <class T, std::size_t Rows, std::size_t Cols>
using matrix = tensor<T, Rows, Cols>;

/// [Rows, Cols] that lies in memory as its transpose, column by column.
template <class T, std::size_t Rows, std::size_t Cols>
struct transposed_matrix {
    using value_type = T;
    static constexpr std::array<std::size_t, 2> extents{Rows, Cols};
    static constexpr std::size_t size = Rows * Cols;
    static constexpr bool transposed = true;

    T* data = nullptr;

    /// Columns [First, First + Count), the inputs of a product.
    template <std::size_t First, std::size_t Count>
    requires(First + Count <= Cols) constexpr transposed_matrix<T, Rows, Count> inputs() const { return {data + First * Rows}; }
};

/// The i-th slice along the first extent of a tensor of rank 3: a matrix.
template <class T, std::size_t K, std::size_t Rows, std::size_t Cols>
constexpr matrix<T, Rows, Cols> slice(tensor<T, K, Rows, Cols> const& t, std::size_t i) {
    return {t.data + i * Rows * Cols};
}

/// [size, Width]: one row a token, rows `stride` apart. The number of tokens is known at run time only; they are those of one
/// sequence, or of several, one after another (batch.hpp).
template <class T, std::size_t Width>
struct sequence {
    using value_type = T;
    static constexpr std::size_t width = Width;

    T* data = nullptr;
    std::size_t size = 0;
    std::size_t stride = Width;

    constexpr sequence() = default;
    constexpr sequence(T* p, std::size_t n, std::size_t distance = Width) : data(p), size(n), stride(distance) {}
    /// Of memory that may be written, as one that is only read.
    template <class U>
    requires(std::is_same_v<U const, T>) constexpr sequence(sequence<U, Width> const& other) : data(other.data), size(other.size), stride(other.stride) {}

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
};

/// An operation's parameter of this type takes any view that converts to it; its extents are those of the other arguments.
template <class T>
using as = std::type_identity_t<T>;

}  // namespace goldfinch
