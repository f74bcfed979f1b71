// SPDX-License-Identifier: Apache-2.0
// Kernels, and a function that tells no instruction set: weak_symbols.cmake must find it.
#include <goldfinch/backend/simd/target.hpp>

namespace goldfinch {

inline int planted(int x) { return x + 1; }
extern int (*const planted_address)(int);
int (*const planted_address)(int) = planted;

}  // namespace goldfinch
