// SPDX-License-Identifier: Apache-2.0
// Reads a prompt once and ranks continuations of it: a copied session is a fork, and costs no second reading.

#include <goldfinch/goldfinch.hpp>

#include <cstdio>
#include <numeric>
#include <string>
#include <vector>

namespace gf = goldfinch;

inline constexpr gf::config shakespeare = gf::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 128, .head_size = 32});

int main(int argc, char** argv) try {
    auto const lm = gf::model<shakespeare>::load(argc > 1 ? argv[1] : "examples/models/shakespeare.safetensors");
    gf::byte_tokenizer const words;
    gf::session prompt{lm};
    prompt.append(words.encode("KING RICHARD III:\nA horse! a horse! my "));
    prompt.logits();  // once for all forks

    for (std::string const text : {"kingdom for a horse!\n", "lord for a saddle!\n", "qwerty for a horse!\n"}) {
        gf::session fork = prompt;
        std::vector<double> const scores = fork.score(words.encode(text));  // log-probabilities, one a token
        double const nats = -std::accumulate(scores.begin(), scores.end(), 0.0);
        std::printf("%.2f nats a byte: %s", nats / static_cast<double>(scores.size()), text.c_str());
    }
} catch (gf::error const& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
}
