// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

#include "order.hpp"

namespace emulation {

/// How launches run until the end of a scope.
class scoped_order {
public:
    explicit scoped_order(order o) : before_(detail::order_now()) { set_order(o); }
    ~scoped_order() { detail::order_now() = before_; }
    scoped_order(scoped_order const&) = delete;
    scoped_order& operator=(scoped_order const&) = delete;

private:
    detail::run_order before_;
};

inline std::string to_string(order o) {
    std::string name = "random:" + std::to_string(o.seed);
    if (o.threads == sequence::ascending) name = "ascending";
    if (o.threads == sequence::descending) name = "descending";
    return name;
}

/// Calls run() in each of emulation::orders and compares, bit by bit, what it returns (a vector of numbers, say): empty where all are the same, else
/// where they differ. run() must allocate and fill all memory itself.
template <class Run>
std::string difference_between_orders(Run run) {
    auto in_order = [&](order o) {
        scoped_order scope(o);
        return run();
    };
    auto const first = in_order(orders[0]);
    using value = std::remove_cvref_t<decltype(first[0])>;
    static_assert(std::is_trivially_copyable_v<value>);
    for (order o : std::span(orders).subspan(1)) {
        auto const other = in_order(o);
        std::string between = to_string(orders[0]) + " and " + to_string(o) + " order";
        if (other.size() != first.size()) return "results of different sizes in " + between;
        for (std::size_t i = 0; i < first.size(); ++i) {
            if (std::memcmp(&first[i], &other[i], sizeof(value)) != 0) {
                return "element " + std::to_string(i) + " is " + std::to_string(first[i]) + " and " + std::to_string(other[i]) + " in " + between;
            }
        }
    }
    return "";
}

}  // namespace emulation
