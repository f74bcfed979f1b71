// SPDX-License-Identifier: Apache-2.0
// expect: goldfinch: a session is made from a model, which model<config>::load or model<config>::random returns
#include <goldfinch/goldfinch.hpp>

namespace gf = goldfinch;

inline constexpr gf::config tiny = gf::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 64, .head_size = 16});

gf::session session{tiny};
