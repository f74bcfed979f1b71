// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <goldfinch/view.hpp>

namespace goldfinch {

/// Running softmax attention of T queries: what has been seen of the keys so far. Sums are relative to exp(max).
template <class Scalar, std::size_t Heads, std::size_t Width>
struct attention_sums {
    sequence<Scalar, Heads> max;    ///< [T, Heads] largest score
    sequence<Scalar, Heads> total;  ///< [T, Heads] sum of exp(score - max)
    sequence<Scalar, Width> value;  ///< [T, Width] sum of exp(score - max) * value
};

}  // namespace goldfinch
