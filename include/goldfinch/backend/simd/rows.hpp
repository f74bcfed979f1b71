// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include <goldfinch/backend/simd/vec.hpp>
#include <goldfinch/message.hpp>

// Loops over rows and vectors. Their extents are run-time numbers: compiled once, not for every shape a model has.

namespace goldfinch {
inline namespace GOLDFINCH_ISA {
namespace kernel {

/// A sequence whose width is a run-time number.
template <class T>
struct rows {
    T* data;
    std::size_t size, stride, width;

    rows(T* p, std::size_t count, std::size_t distance, std::size_t channels) : data(p), size(count), stride(distance), width(channels) {}
    template <class U, std::size_t Width>
    requires(std::is_convertible_v<U*, T*>) rows(sequence<U, Width> const& x) : data(x.data), size(x.size), stride(x.stride), width(Width) {}
    template <class U>
    requires(std::is_same_v<U const, T>) rows(rows<U> const& x) : data(x.data), size(x.size), stride(x.stride), width(x.width) {}

    T* operator[](std::size_t t) const { return data + t * stride; }
};

/// The backend for work on this many elements: waking the pool must pay.
inline cpu_executor threads_for(cpu_executor const& be, std::size_t elements) {
    cpu_executor at = be;
    if (elements < 32768) at.pool = nullptr;
    return at;
}

/// f(body, first, last) for runs of rows that make up n; a row is `width` elements of work.
GOLDFINCH_NOINLINE inline void share_rows(cpu_executor const& be, std::size_t n, std::size_t width, void const* body,
                                          void (*f)(void const*, std::size_t, std::size_t)) {
    std::size_t const run = std::max<std::size_t>(1, 8192 / width);
    parallel(threads_for(be, n * width), (n + run - 1) / run,
             [&](cpu_executor const&, std::size_t block) { f(body, block * run, std::min(n, (block + 1) * run)); });
}

/// f(t) for every t below n. The type of f ends here: what is below it is compiled once.
template <class F>
void each_row(cpu_executor const& be, std::size_t n, std::size_t width, F const& f) {
    share_rows(be, n, width, &f, [](void const* body, std::size_t first, std::size_t last) {
        for (std::size_t t = first; t < last; ++t) (*static_cast<F const*>(body))(t);
    });
}

/// f(i, count) at the start of every vector in n elements; `count` is what is left, for load and store.
template <class F>
GOLDFINCH_INLINE void each_vector(std::size_t n, F const& f) {
    for (std::size_t i = 0; i < n; i += lanes) f(i, n - i);
}

/// The sum over n elements of what f, called as by each_vector, returns for them, in four chains that need not wait for each other.
template <class F>
GOLDFINCH_INLINE float sum_of(std::size_t n, F const& f) {
    batch s[4] = {broadcast(0), broadcast(0), broadcast(0), broadcast(0)};
    std::size_t i = 0;
    for (; i + 4 * lanes <= n; i += 4 * lanes) {
        GOLDFINCH_UNROLL
        for (std::size_t j = 0; j < 4; ++j) s[j] = s[j] + f(i + j * lanes, lanes);
    }
    for (; i < n; i += lanes) s[0] = s[0] + f(i, n - i);
    return sum((s[0] + s[1]) + (s[2] + s[3]));
}

/// x where there is data, zero behind.
GOLDFINCH_INLINE batch only(batch x, std::size_t n) {
    if (n >= lanes) return x;
    alignas(alignment) float wide[lanes];
    x.store_aligned(wide);
    return load(wide, n);
}

/// y = x in float.
template <class T>
GOLDFINCH_INLINE void widen(T const* x, float* y, std::size_t n) {
    each_vector(n, [&](std::size_t i, std::size_t count) { store(y + i, load(x + i, count), count); });
}

}  // namespace kernel
}  // namespace GOLDFINCH_ISA
}  // namespace goldfinch
