// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <numeric>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace emulation {

/// In which order the threads of a block, and the blocks of a grid, run.
enum class sequence { ascending, descending, random };

/// How launches run. What a correct kernel writes depends on none of it.
struct order {
    sequence threads = sequence::ascending;
    std::uint64_t seed = 0;          ///< of sequence::random
    unsigned char unwritten = 0xff;  ///< what the bytes of fresh memory are: 0xff makes NaNs of floats of every width
};

/// Two runs that differ in one of these show a race, or a read of memory that nobody wrote.
inline constexpr order orders[] = {
    {sequence::ascending, 0, 0xff},
    {sequence::descending, 0, 0xff},
    {sequence::random, 1, 0xff},
    {sequence::random, 2, 0x3c},
};

namespace detail {

/// Small and good enough to choose orders.
class random_numbers {
public:
    explicit random_numbers(std::uint64_t seed) : state_(seed) {}
    /// splitmix64
    std::uint64_t operator()() {
        std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
    }
    unsigned below(std::size_t n) { return static_cast<unsigned>((*this)() % n); }

private:
    std::uint64_t state_;
};

/// GOLDFINCH_CUDA_ORDER: ascending, descending, or random:SEED.
inline order order_of_environment() {
    char const* value = std::getenv("GOLDFINCH_CUDA_ORDER");
    std::string_view name = value ? value : "ascending";
    if (name == "ascending") return {};
    if (name == "descending") return {sequence::descending};
    if (name.starts_with("random:")) return {sequence::random, std::strtoull(value + std::size("random:") - 1, nullptr, 10), 0x3c};
    throw std::invalid_argument("GOLDFINCH_CUDA_ORDER is none of ascending, descending, random:SEED: " + std::string(name));
}

struct run_order {
    order chosen = order_of_environment();
    random_numbers random{chosen.seed};
};

inline run_order& order_now() {
    static run_order now;
    return now;
}

/// 0 to n - 1 in the order in use.
inline std::vector<unsigned> arranged(std::size_t n) {
    std::vector<unsigned> result(n);
    std::iota(result.begin(), result.end(), 0u);
    run_order& now = order_now();
    if (now.chosen.threads == sequence::descending) std::reverse(result.begin(), result.end());
    if (now.chosen.threads == sequence::random) {
        for (std::size_t i = n; i > 1; --i) std::swap(result[i - 1], result[now.random.below(i)]);
    }
    return result;
}

}  // namespace detail

/// How launches run from now on. The environment variable GOLDFINCH_CUDA_ORDER (ascending, descending, random:SEED) says how they do before.
inline void set_order(order o) { detail::order_now() = {o, detail::random_numbers(o.seed)}; }

/// How launches run.
inline order order_in_use() { return detail::order_now().chosen; }

}  // namespace emulation
