// SPDX-License-Identifier: Apache-2.0
// All kernels, for whatever flags.
#define GOLDFINCH_EXPECTED_SET GOLDFINCH_TARGET
#include <goldfinch/backend/simd/target.hpp>
