// SPDX-License-Identifier: Apache-2.0
// logits FILE: writes the logits of a few models after each of some tokens, and says which instruction set computed them.
// logits FILE FILE: compares two such files.
#include <goldfinch/goldfinch.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <vector>

namespace gf = goldfinch;

inline constexpr gf::config sizes = gf::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 64, .head_size = 16, .rope_base = 10000});

template <class Weight>
void add(std::vector<float>& all) {
    gf::session session{gf::model<sizes, gf::simd<Weight>, gf::compressed_keys<float>>::random(1)};
    std::vector<gf::token> const prompt(100, 7);
    session.append(prompt);
    for (gf::token t = 0; t < 8; ++t) {
        auto const logits = session.step(31 * t);
        all.insert(all.end(), logits.begin(), logits.end());
    }
}

std::vector<float> read(char const* name) {
    std::ifstream file(name, std::ios::binary);
    std::vector<char> const bytes(std::istreambuf_iterator<char>(file), {});
    std::vector<float> values(bytes.size() / sizeof(float));
    std::copy_n(bytes.data(), values.size() * sizeof(float), reinterpret_cast<char*>(values.data()));
    return values;
}

int main(int argc, char** argv) try {
    if (argc == 3) {
        auto const a = read(argv[1]), b = read(argv[2]);
        double worst = a.size() == b.size() && !a.empty() ? 0 : HUGE_VAL;
        for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) worst = std::max(worst, static_cast<double>(std::abs(a[i] - b[i])));
        std::printf("%zu logits, largest difference %g\n", a.size(), worst);
        return worst <= 1e-6 ? 0 : 1;
    }
    std::vector<float> all;
    add<float>(all), add<gf::bf16>(all), add<gf::int8>(all);
    std::ofstream(argv[1], std::ios::binary).write(reinterpret_cast<char const*>(all.data()), static_cast<std::streamsize>(all.size() * sizeof(float)));
    std::printf("%s\n", gf::instruction_set());
    return 0;
} catch (gf::config_error const& e) {
    std::printf("config_error: %s\n", e.what());
    return 2;
}
