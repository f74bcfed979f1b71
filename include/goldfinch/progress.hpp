// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <functional>
#include <type_traits>

namespace goldfinch {

namespace detail {

/// What can be called with these arguments and returns nothing, or whether to go on.
template <class F, class... Args>
concept says_whether_to_go_on =
    std::invocable<F&, Args...> && (std::is_void_v<std::invoke_result_t<F&, Args...>> || std::is_convertible_v<std::invoke_result_t<F&, Args...>, bool>);

/// Calls it; nothing returned means yes.
template <class F, class... Args>
requires says_whether_to_go_on<F, Args...>
bool goes_on(F& f, Args... args) {
    if constexpr (std::is_void_v<std::invoke_result_t<F&, Args...>>) {
        std::invoke(f, args...);
        return true;
    } else {
        return static_cast<bool>(std::invoke(f, args...));
    }
}

}  // namespace detail

/// What is told how many tokens of all have been read, after every pass (session::tokens_a_pass): any function of (done, total), two std::size_t. It returns
/// nothing, or whether to go on.
template <class F>
concept progress_receiver = detail::says_whether_to_go_on<F, std::size_t, std::size_t>;

namespace detail {

/// read(first, n), and then on_progress(done, total), for each pass of at most `most` that `total` tokens take. How many were read: fewer if it said to stop.
template <class Read, progress_receiver F>
std::size_t by_passes(std::size_t most, std::size_t total, Read const& read, F& on_progress) {
    for (std::size_t done = 0; done < total;) {
        std::size_t const n = std::min(most, total - done);
        read(done, n);
        done += n;
        if (!goes_on(on_progress, done, total)) return done;
    }
    return total;
}

}  // namespace detail

}  // namespace goldfinch
