// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <type_traits>

#include <goldfinch/backend/simd/kernels/vec.hpp>
#include <goldfinch/batch.hpp>

// Loops over rows and vectors. Their extents are run-time numbers: compiled once, not for every shape a model has.

namespace goldfinch {
inline namespace GOLDFINCH_TARGET {
namespace kernel {

using detail::few_tokens;
/// Rows of a product up to which sums are those of one row: a layer may multiply two rows of each of few_tokens at once.
inline constexpr std::size_t few_rows = 2 * few_tokens;

GOLDFINCH_INLINE constexpr std::size_t min(std::size_t a, std::size_t b) { return b < a ? b : a; }
GOLDFINCH_INLINE constexpr std::size_t max(std::size_t a, std::size_t b) { return a < b ? b : a; }
GOLDFINCH_INLINE constexpr std::size_t clamp(std::size_t x, std::size_t low, std::size_t high) { return min(max(x, low), high); }
GOLDFINCH_INLINE constexpr std::size_t ceil_div(std::size_t a, std::size_t b) { return (a + b - 1) / b; }

#if GOLDFINCH_AVX512
/// Whether the processor is AMD's, which multiplies bf16 at twice the rate of float32, and shuffles twice as fast as Intel's: other products pay.
inline bool is_amd() {
    static bool const amd = __builtin_cpu_is("amd") != 0;
    return amd;
}
#endif

GOLDFINCH_INLINE void fill(float* p, std::size_t n, float value) {
    for (std::size_t i = 0; i < n; ++i) p[i] = value;
}
template <class T>
GOLDFINCH_INLINE void copy(T const* from, std::size_t n, T* to) {
    __builtin_memcpy(to, from, n * sizeof(T));
}

/// A scope's temporaries; they end with it.
class temporaries {
public:
    GOLDFINCH_INLINE explicit temporaries(cpu_executor const& at) : at_(at), top_(at.call->top(at)) {}
    temporaries(temporaries const&) = delete;
    temporaries& operator=(temporaries const&) = delete;
    GOLDFINCH_INLINE ~temporaries() { at_.call->release(at_, top_); }

    /// n uninitialised elements, aligned to `alignment`.
    template <class T>
    GOLDFINCH_INLINE T* array(std::size_t n) {
        static_assert(std::is_trivially_copyable_v<T>);
        return static_cast<T*>(at_.call->take(at_, n * sizeof(T)));
    }

private:
    cpu_executor const& at_;
    cpu_executor::mark top_;
};

/// Calls f(executor, index) for every index below count, on the pool if there is one. The executor that f gets works alone and has
/// temporaries of its own. Results must not depend on who does what.
template <class F>
void parallel(cpu_executor const& at, std::size_t count, F const& f) {
    at.call->share(at, count, &f, [](void const* body, cpu_executor const& alone, std::size_t i) { (*static_cast<F const*>(body))(alone, i); });
}

/// The executor for work on this many elements: waking the pool must pay.
GOLDFINCH_INLINE cpu_executor threads_for(cpu_executor const& at, std::size_t elements) { return elements < 32768 ? at.alone() : at; }

/// f(body, first, last) for runs of rows that make up n; a row is `width` elements of work.
GOLDFINCH_NOINLINE inline void share_rows(cpu_executor const& at, std::size_t n, std::size_t width, void const* body,
                                          void (*f)(void const*, std::size_t, std::size_t)) {
    std::size_t const run = max(1, 8192 / max(1, width));
    parallel(threads_for(at, n * width), ceil_div(n, run),
             [&](cpu_executor const&, std::size_t block) { f(body, block * run, min(n, (block + 1) * run)); });
}

/// f(t) for every t below n. Erases f's type, so that the loop above is compiled once for all f.
template <class F>
void each_row(cpu_executor const& at, std::size_t n, std::size_t width, F const& f) {
    share_rows(at, n, width, &f, [](void const* body, std::size_t first, std::size_t last) {
        for (std::size_t t = first; t < last; ++t) (*static_cast<F const*>(body))(t);
    });
}

/// f(i, count) at the start of every vector in n elements; `count` is what is left, for load and store.
template <class F>
GOLDFINCH_INLINE void each_vector(std::size_t n, F const& f) {
    for (std::size_t i = 0; i < n; i += lanes) f(i, n - i);
}

/// A number that is part of a type.
template <std::size_t n>
struct run_of {
    static constexpr std::size_t size = n;
};

/// f(run, i) for runs that make up n: of Most, then of its half and so on; the first of a run is i.
template <std::size_t Most, class F>
GOLDFINCH_INLINE void by_runs(std::size_t n, F const& f, std::size_t i = 0) {
    for (; i + Most <= n; i += Most) f(run_of<Most>{}, i);
    if constexpr (Most > 1)
        if (i < n) by_runs<Most / 2>(n, f, i);
}

/// The sum over n elements of what f, called as by each_vector, returns for them, in four chains that need not wait for each other.
template <class F>
GOLDFINCH_INLINE float sum_of(std::size_t n, F const& f) {
    vec s[4] = {broadcast(0), broadcast(0), broadcast(0), broadcast(0)};
    std::size_t i = 0;
    for (; i + 4 * lanes <= n; i += 4 * lanes) {
        GOLDFINCH_UNROLL
        for (std::size_t j = 0; j < 4; ++j) s[j] = s[j] + f(i + j * lanes, lanes);
    }
    for (; i < n; i += lanes) s[0] = s[0] + f(i, n - i);
    return sum((s[0] + s[1]) + (s[2] + s[3]));
}

/// to[i] = sum(load(x + i * lanes)) for i below n, to the last bit: as many at once as there are lanes.
GOLDFINCH_NOINLINE inline void sums(float const* x, std::size_t n, float* to) {
    for (std::size_t first = 0; first < n; first += lanes) {
        vec r[lanes];
        GOLDFINCH_UNROLL
        for (std::size_t i = 0; i < lanes; ++i) r[i] = load(x + min(first + i, n - 1) * lanes);
        GOLDFINCH_UNROLL
        for (std::size_t half = lanes / 2; half > 0; half /= 2) {
            GOLDFINCH_UNROLL
            for (std::size_t i = 0; i < half; ++i) {
                interleave(r[i], r[i + half]);
                r[i] = r[i] + r[i + half];
            }
        }
        store(to + first, r[0], n - first);
    }
}

/// The first n lanes of x, zeros behind.
GOLDFINCH_INLINE vec only(vec x, std::size_t n) {
    if (n >= lanes) return x;
    alignas(alignment) float wide[lanes];
    x.store_aligned(wide);
    return load(wide, n);
}

/// y = x as float.
template <class T>
GOLDFINCH_INLINE void widen_row(T const* x, float* y, std::size_t n) {
    each_vector(n, [&](std::size_t i, std::size_t count) { store(y + i, load(x + i, count), count); });
}

}  // namespace kernel
}  // namespace GOLDFINCH_TARGET
}  // namespace goldfinch
