// SPDX-License-Identifier: Apache-2.0
// Compiled with -O3 -ffast-math, which is -Ofast.
#include "checks.hpp"

fast_math::results fast_math::compute_fast(inputs const& in) { return compute(in); }
