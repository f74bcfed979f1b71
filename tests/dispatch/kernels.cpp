// SPDX-License-Identifier: Apache-2.0
// All kernels, for whatever flags.
#include <goldfinch/backend/simd/target.hpp>
