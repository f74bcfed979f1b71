// SPDX-License-Identifier: Apache-2.0
// The minimal program: a random model, a session, a few tokens. The consumer projects beside this file build it too, each
// getting goldfinch in another way.
#include <goldfinch/goldfinch.hpp>

#include <cstdio>
#include <vector>

namespace gf = goldfinch;

inline constexpr gf::config tiny = gf::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 64, .head_size = 16});

int main() {
    auto const lm = gf::model<tiny>::random(1);
    gf::session session{lm};
    session.append(std::vector<gf::token>{1, 2, 3});
    auto const logits = session.step(4);
    std::printf("%zu logits at position %zu\n", logits.size(), static_cast<std::size_t>(session.position()));
    return logits.size() == 256 && session.position() == 4 ? 0 : 1;
}
