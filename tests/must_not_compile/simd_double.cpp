// SPDX-License-Identifier: Apache-2.0
// expect: goldfinch: simd<Weight> takes float, goldfinch::bf16, goldfinch::half or a weight format such as goldfinch::int8
#include <goldfinch/goldfinch.hpp>

namespace gf = goldfinch;

std::size_t bytes = sizeof(gf::simd<double>);
