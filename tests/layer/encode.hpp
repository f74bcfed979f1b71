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
    std::vector<std::byte> row(goldfinch::row_bytes(*t.format, t.columns()));
    for (std::size_t r = 0; r < t.rows(); ++r) {
        std::byte* const planes[] = {row.data(), row.data() + t.format->plane(0, t.columns()).row_bytes};
        t.format->encode(numbers.data() + r * t.columns(), t.columns(), planes);
        t.store_rows(memory.data(), r, 1, planes);
    }
    return memory;
}
