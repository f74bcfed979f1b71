// SPDX-License-Identifier: Apache-2.0
// minimal.cpp on a GPU, or why there is none.
#include "model.hpp"

#include <cstdio>
#include <vector>

namespace gf = goldfinch;

int main() try {
    auto const lm = gf::model<tiny, gf::cuda<gf::bf16>>::random(1);
    gf::session session{lm};
    session.append(std::vector<gf::token>{1, 2, 3});
    auto const logits = session.step(4);
    std::printf("%zu logits at position %zu\n", logits.size(), session.position());
    return logits.size() == 256 && session.position() == 4 ? 0 : 1;
} catch (gf::cuda_error const& e) {
    std::printf("skipped: %s\n", e.what());
}
