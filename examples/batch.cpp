// SPDX-License-Identifier: Apache-2.0
// Eight continuations of one prompt, side by side: forks of one session, which take every step together in one pass over the weights.

#include <goldfinch/goldfinch.hpp>

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace gf = goldfinch;

inline constexpr gf::config shakespeare = gf::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 128, .head_size = 32});

/// A line for each text, on a terminal over those of the last time.
void show(std::vector<std::string> const& texts, bool again) {
    if (again) std::printf("\033[%zuA", texts.size());
    for (std::size_t i = 0; i < texts.size(); ++i) std::printf("%zu  %s\n", i + 1, texts[i].c_str());
    std::fflush(stdout);
}

int main(int argc, char** argv) try {
    auto const lm = gf::model<shakespeare>::load(argc > 1 ? argv[1] : "examples/models/shakespeare.safetensors");
    gf::byte_tokenizer const bytes;
    gf::session prompt{lm};
    prompt.append(bytes.encode("JULIET:\nO Romeo, Romeo! wherefore art thou "));
    prompt.logits();  // made once, for all forks

    constexpr std::size_t n = 8, length = 72;
    std::vector sessions(n, prompt);
    std::vector<gf::sampler> samplers;
    for (std::uint64_t seed = 1; seed <= n; ++seed)
        samplers.emplace_back(gf::sampling_options{.top_p = 0.9f, .presence_penalty = 0, .frequency_penalty = 0, .seed = seed});

    std::puts("O Romeo, Romeo! wherefore art thou ...");
    bool const terminal = isatty(STDOUT_FILENO) == 1;
    std::vector<std::string> texts(n);
    std::vector<gf::token> drawn(n);
    for (std::size_t t = 0; t < length; ++t) {
        for (std::size_t i = 0; i < n; ++i) {
            drawn[i] = samplers[i](sessions[i].logits());
            for (char const c : bytes.decode({&drawn[i], 1})) texts[i] += c < ' ' || c > '~' ? '/' : c;  // ends of lines as strokes
        }
        gf::step(sessions, drawn);
        if (terminal) show(texts, t > 0);
    }
    if (!terminal) show(texts, false);
} catch (gf::error const& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
}
