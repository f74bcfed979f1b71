// SPDX-License-Identifier: Apache-2.0
// expect: goldfinch: expanded_kv<Value> takes float, goldfinch::bf16 or goldfinch::int8
#include <goldfinch/goldfinch.hpp>

namespace gf = goldfinch;

gf::expanded_kv<gf::half> cache;
