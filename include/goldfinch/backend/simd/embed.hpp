// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>

#include <goldfinch/backend/simd/rows.hpp>
#include <goldfinch/config.hpp>

namespace goldfinch {
inline namespace GOLDFINCH_ISA {

/// y_t = table[tokens_t]
template <class Weight, std::size_t V, std::size_t D>
void embed(simd<Weight> const& be, matrix<Weight const, V, D> table, std::span<token const> tokens, as<sequence<float, D>> y) {
    kernel::each_row(be, y.size, D, [&](std::size_t t) { kernel::widen(table.data + tokens[t] * D, y[t], D); });
}

}  // namespace GOLDFINCH_ISA
}  // namespace goldfinch
