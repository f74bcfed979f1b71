// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <type_traits>
#include <utility>

#include <goldfinch/backend/cpu.hpp>
#include <goldfinch/backend/cpu/checks.hpp>
#include <goldfinch/batch.hpp>
#include <goldfinch/view.hpp>

// transform and scan (operations.hpp) on CPUs: plain loops over channels, which the compiler turns into vector code where the function lets
// it, with the program's own flags.

namespace goldfinch {

namespace detail {

/// What a function of transform or scan gets for an argument at row t and channel c, of an activation as wide as Width.
template <std::size_t Width, class Backend, class Argument>
struct function_argument;

/// Rows: the element, to read or to write. Rows narrower than Width have a value for each of as many equal runs of channels.
template <std::size_t Width, class Backend, class T, std::size_t W>
struct function_argument<Width, Backend, sequence<T, W>> {
    static_assert(Width % W == 0, "goldfinch: the rows of transform and scan must be as wide as the widest, or divide it");
    sequence<T, W> x;
    T* row = nullptr;
    void begin(std::size_t) {}
    void at(std::size_t t) { row = x[t]; }
    T& operator[](std::size_t c) const { return row[W == Width ? c : c / (Width / W)]; }
};
/// A parameter [Width]: the same for every row.
template <std::size_t Width, class Backend, class T>
struct function_argument<Width, Backend, tensor<T, Width>> {
    tensor<T, Width> x;
    void begin(std::size_t) {}
    void at(std::size_t) {}
    typename Backend::scalar operator[](std::size_t c) const { return static_cast<typename Backend::scalar>(x.data[c]); }
};
/// A parameter [Width, K]: K numbers of a channel.
template <std::size_t Width, class Backend, class T, std::size_t K>
struct function_argument<Width, Backend, tensor<T, Width, K>> {
    using S = typename Backend::scalar;
    tensor<T, Width, K> x;
    void begin(std::size_t) {}
    void at(std::size_t) {}
    std::array<S, K> operator[](std::size_t c) const {
        std::array<S, K> result;
        for (std::size_t k = 0; k < K; ++k) result[k] = static_cast<S>(x.data[c * K + k]);
        return result;
    }
};
/// A state [Width]: a number of a channel that goes on from row to row.
template <std::size_t Width, class Backend>
struct function_argument<Width, Backend, state_tensor<Backend, Width>> {
    state_tensor<Backend, Width> x;
    typename Backend::scalar* values = nullptr;
    void begin(std::size_t sequence) { values = x[sequence].data; }
    void at(std::size_t) {}
    typename Backend::scalar& operator[](std::size_t c) const { return values[c]; }
};

/// The view that an argument is: a class derived from one is that.
template <class T, std::size_t W>
sequence<T, W> plain_argument(sequence<T, W> const& x) { return x; }
template <class T, std::size_t... E>
tensor<T, E...> plain_argument(tensor<T, E...> const& x) { return x; }
template <class Backend, std::size_t... E>
state_tensor<Backend, E...> plain_argument(state_tensor<Backend, E...> const& x) { return x; }

template <class T, std::size_t W>
constexpr std::size_t width_of_rows(sequence<T, W> const*) { return W; }
constexpr std::size_t width_of_rows(void const*) { return 0; }
template <class... Arguments>
inline constexpr std::size_t widest = std::max({width_of_rows(static_cast<Arguments const*>(nullptr))...});
template <class Argument>
using plain = decltype(plain_argument(std::declval<Argument const&>()));

/// What a function gets for an argument, of an activation as wide as Width.
template <std::size_t Width, class Backend, class Argument>
using element_of = decltype(std::declval<function_argument<Width, Backend, plain<Argument>> const&>()[0]);

/// How many rows the first argument with rows has.
template <class T, std::size_t W, class... Rest>
std::size_t count_rows(sequence<T, W> const& x, Rest const&...) { return x.size; }
template <class First, class... Rest>
std::size_t count_rows(First const&, Rest const&... rest) { return count_rows(rest...); }

}  // namespace detail

template <class Backend, class F, class... Arguments>
requires(std::is_base_of_v<cpu_backend, Backend>) void transform(Backend const& be, F const& f, Arguments const&... arguments) {
    constexpr std::size_t width = detail::widest<detail::plain<Arguments>...>, elements = 8192;
    static_assert(std::is_invocable_v<F const&, detail::element_of<width, Backend, Arguments>...>,
                  "goldfinch: the function of transform takes a scalar for each argument, S& where it writes, and a std::array<S, K> for one [D, K]");
    constexpr std::size_t run = std::max<std::size_t>(1, elements / width);
    std::size_t const rows = detail::count_rows(detail::plain_argument(arguments)...);
    assert((detail::has_rows(detail::plain_argument(arguments), rows) && ...));
    auto const each = [&](std::size_t first, std::size_t last, auto... argument) {
        for (std::size_t t = first; t < last; ++t) {
            (argument.at(t), ...);
            for (std::size_t c = 0; c < width; ++c) f(argument[c]...);
        }
    };
    auto const part = [&](std::size_t i) {
        each(i * run, std::min(rows, (i + 1) * run), detail::function_argument<width, Backend, detail::plain<Arguments>>{detail::plain_argument(arguments)}...);
    };
    std::size_t const parts = (rows + run - 1) / run;
    if (parts < 4)
        for (std::size_t i = 0; i < parts; ++i) part(i);
    else
        parallel(be, parts, [&](Backend const&, std::size_t i) { part(i); });
}

template <class Backend, class F, std::size_t Width, class... Arguments>
requires(std::is_base_of_v<cpu_backend, Backend>) void scan(Backend const& be, F const& f, state_tensor<Backend, Width> state, Arguments const&... arguments) {
    static_assert(detail::widest<detail::plain<Arguments>...> == Width, "goldfinch: scan needs rows as wide as its state");
    static_assert(std::is_invocable_v<F const&, typename Backend::scalar&, detail::element_of<Width, Backend, Arguments>...>,
                  "goldfinch: the function of scan takes the state's S&, then what that of transform takes");
    constexpr std::size_t run = 64;  // channels that go through all rows together: their state stays in L1
    constexpr std::size_t runs = (Width + run - 1) / run;
    auto const& of = *state.of;
    assert((detail::has_rows(detail::plain_argument(arguments), of.first[of.size]) && ...));
    auto const each = [&](std::size_t sequence, std::size_t first, std::size_t last, auto... argument) {
        (argument.begin(sequence), ...);
        for (std::size_t t = of.first[sequence]; t < of.first[sequence + 1]; ++t) {
            (argument.at(t), ...);
            for (std::size_t c = first; c < last; ++c) f(argument[c]...);
        }
    };
    auto const part = [&](std::size_t i) {
        each(i / runs, i % runs * run, std::min(Width, (i % runs + 1) * run), detail::function_argument<Width, Backend, state_tensor<Backend, Width>>{state},
             detail::function_argument<Width, Backend, detail::plain<Arguments>>{detail::plain_argument(arguments)}...);
    };
    if (of.first[of.size] * Width < 32768)
        for (std::size_t i = 0; i < of.size * runs; ++i) part(i);
    else
        parallel(be, of.size * runs, [&](Backend const&, std::size_t i) { part(i); });
}

template <class Backend, std::size_t A, std::size_t H>
requires(std::is_base_of_v<cpu_backend, Backend>) void inner_product(Backend const&, as<sequence<typename Backend::scalar const, A>> a,
                                                                     sequence<typename Backend::scalar, A> b, sequence<typename Backend::scalar, H> y) {
    static_assert(A % H == 0, "goldfinch: inner_product needs heads of equal size");
    assert(detail::same_rows(a, b, y) && detail::apart(a, y) && detail::apart(b, y));
    for (std::size_t t = 0; t < y.size; ++t)
        for (std::size_t h = 0; h < H; ++h) {
            typename Backend::scalar sum = 0;
            for (std::size_t i = h * (A / H); i < (h + 1) * (A / H); ++i) sum += a[t][i] * b[t][i];
            y[t][h] = sum;
        }
}

}  // namespace goldfinch
