// SPDX-License-Identifier: Apache-2.0
// expect: goldfinch: a stack needs at least one block
#include <goldfinch/goldfinch.hpp>

namespace gf = goldfinch;

gf::stack<> blocks;
