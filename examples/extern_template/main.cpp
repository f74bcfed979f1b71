// SPDX-License-Identifier: Apache-2.0
// Continues a prompt, as hello.cpp does, with a model that is compiled elsewhere.

#include "shakespeare.hpp"

#include <cstdio>
#include <string_view>

namespace gf = goldfinch;

int main(int argc, char** argv) try {
    auto const lm = shakespeare::load(argc > 1 ? argv[1] : "examples/models/shakespeare.safetensors");
    gf::session session{lm};
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
