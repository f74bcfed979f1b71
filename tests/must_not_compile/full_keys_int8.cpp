// SPDX-License-Identifier: Apache-2.0
// expect: goldfinch: full_keys<Value> takes float or goldfinch::bf16
#include <goldfinch/goldfinch.hpp>

namespace gf = goldfinch;

gf::full_keys<gf::int8> cache;
