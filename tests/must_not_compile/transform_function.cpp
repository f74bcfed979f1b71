// SPDX-License-Identifier: Apache-2.0
// expect: goldfinch: the function of transform takes a scalar for each argument, S& where it writes, and a std::array<S, K> for one [D, K]
#include <goldfinch/goldfinch.hpp>

namespace gf = goldfinch;

void writes_what_is_read(gf::simd<float> const& be, gf::inputs<gf::simd<float>, 64> x, gf::outputs<gf::simd<float>, 64> y) {
    transform(be, [](float& z, float& in) { z += in; }, y, x);
}
