// SPDX-License-Identifier: Apache-2.0
// Loads a model and continues a prompt.

#include <goldfinch/goldfinch.hpp>

#include <cstdio>
#include <string_view>

namespace gf = goldfinch;

// The shape of the bundled model. goldfinch-inspect FILE prints the one that fits another file.
inline constexpr gf::config shakespeare = gf::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 128, .head_size = 32});

int main(int argc, char** argv) try {
    auto const lm = gf::model<shakespeare>::load(argc > 1 ? argv[1] : "examples/models/shakespeare.safetensors");
    gf::session session{lm};
    // Penalties are meant for words: among bytes they would soon forbid the letter e.
    gf::sampler sampler({.top_p = 0.9f, .presence_penalty = 0, .frequency_penalty = 0, .seed = 1});

    std::fputs("ROMEO:", stdout);
    gf::generate(session, gf::byte_tokenizer{}, "ROMEO:", sampler, {.max_tokens = 300}, [](std::string_view text) {
        std::fwrite(text.data(), 1, text.size(), stdout);
        std::fflush(stdout);
    });
    std::puts("");
} catch (gf::error const& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
}
