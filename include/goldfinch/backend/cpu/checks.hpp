// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include <goldfinch/view.hpp>

// What operations ask of their arguments and no type says: asserted by the reference, and by operations that all CPU backends share.

namespace goldfinch::detail {

/// Whether activations have as many rows each.
template <class T, std::size_t W, class... U, std::size_t... V>
constexpr bool same_rows(sequence<T, W> const& x, sequence<U, V> const&... others) {
    return ((others.size == x.size) && ...);
}

/// Whether an activation has n rows; what is none is the same for any number of them.
template <class T, std::size_t W>
constexpr bool has_rows(sequence<T, W> const& x, std::size_t n) {
    return x.size == n;
}
template <class View>
constexpr bool has_rows(View const&, std::size_t) {
    return true;
}

/// Whether two activations share no element. They may be different channels of the same rows.
template <class T, std::size_t W, class U, std::size_t V>
bool apart(sequence<T, W> const& x, sequence<U, V> const& y) {
    if (x.size == 0 || y.size == 0) return true;
    auto const x_begin = reinterpret_cast<std::uintptr_t>(x.data), y_begin = reinterpret_cast<std::uintptr_t>(y.data);
    if (x_begin > y_begin) return apart(y, x);
    std::size_t const row = x.stride * sizeof(T), distance = y_begin - x_begin;
    if (distance >= (x.size - 1) * row + W * sizeof(T)) return true;
    return row == y.stride * sizeof(U) && distance % row >= W * sizeof(T) && distance % row + V * sizeof(U) <= row;
}

/// Whether two activations are one, element by element, or share none: what an operation asks that may write where it reads.
template <class T, std::size_t W, class U, std::size_t V>
bool same_or_apart(sequence<T, W> const& x, sequence<U, V> const& y) {
    bool const same = static_cast<void const*>(x.data) == static_cast<void const*>(y.data) && x.stride == y.stride;
    return same || apart(x, y);
}

}  // namespace goldfinch::detail
