// SPDX-License-Identifier: Apache-2.0
// The README's mixer, in blocks below GOLD: `reference` and `simd` agree, and a prompt may be read in parts.
#include <goldfinch/goldfinch.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

namespace gf = goldfinch;

#include "readme_mixer.hpp"

inline constexpr gf::config sizes = gf::checked({.vocab_size = 64, .n_layer = 3, .n_embd = 32, .head_size = 16});
using blocks = gf::stack<gf::repeat<gf::block<my_mixer<sizes>, gf::channel_mix<sizes>>, 2>, gf::token_cat<sizes>,
                         gf::repeat<gf::block<gf::gold<sizes>, gf::channel_mix<sizes>>, 1>>;

template <class Backend>
std::vector<float> logits(std::size_t at_once) {
    gf::session session{gf::model<sizes, Backend, gf::compressed_keys<float>, blocks>::random(1)};
    std::vector<gf::token> const tokens{5, 3, 60, 0, 7, 11, 2, 9};
    for (std::size_t t = 0; t < tokens.size(); t += at_once) session.append({tokens.data() + t, at_once});
    auto const last = session.logits();
    return {last.begin(), last.end()};
}

int main() {
    auto const exact = logits<gf::reference>(8);
    double worst = 0;
    for (auto const& other : {logits<gf::reference>(1), logits<gf::simd<float>>(8), logits<gf::simd<float>>(2)})
        for (std::size_t i = 0; i < exact.size(); ++i) worst = std::max(worst, std::abs(static_cast<double>(other[i] - exact[i])));
    std::printf("largest difference %g\n", worst);
    return worst < 3e-5 ? 0 : 1;
}
