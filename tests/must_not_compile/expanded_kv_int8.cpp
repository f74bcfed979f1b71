// SPDX-License-Identifier: Apache-2.0
// expect: goldfinch: expanded_kv<Value> takes float or goldfinch::bf16
#include <goldfinch/goldfinch.hpp>

namespace gf = goldfinch;

gf::expanded_kv<gf::int8> cache;
