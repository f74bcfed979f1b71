// SPDX-License-Identifier: Apache-2.0
// expect: n_embd must be a multiple of head_size
#include <goldfinch/goldfinch.hpp>

namespace gf = goldfinch;

inline constexpr gf::config wrong = gf::checked({.n_embd = 64, .head_size = 24});
