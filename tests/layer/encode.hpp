// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <goldfinch/backend/cpu/memory.hpp>
#include <goldfinch/parameters.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <vector>

/// Memory for a weight tensor, filled with numbers as its format keeps them; the tensor's view looks at it.
inline goldfinch::aligned_vector<std::byte> encode(goldfinch::detail::parameter& t, std::vector<double> const& numbers) {
    REQUIRE(numbers.size() == t.size);
    goldfinch::aligned_vector<std::byte> memory(t.bytes());
    t.bind(memory.data());
    for (std::size_t r = 0; r < t.rows(); ++r) {
        std::byte* planes[goldfinch::weight_format::most_planes];
        t.place(memory.data(), r, planes);
        t.format->encode(numbers.data() + r * t.columns(), t.columns(), planes);
    }
    return memory;
}
