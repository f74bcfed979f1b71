// SPDX-License-Identifier: Apache-2.0
// Each run of this program writes on where the last one stopped: a session is saved and restored bit for bit.

#include <goldfinch/goldfinch.hpp>

#include <cstdio>
#include <filesystem>
#include <string_view>

namespace gf = goldfinch;

inline constexpr gf::config shakespeare = gf::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 128, .head_size = 32});

int main(int argc, char** argv) try {
    auto const lm = gf::model<shakespeare>::load(argc > 1 ? argv[1] : "examples/models/shakespeare.safetensors");
    std::filesystem::path const file = argc > 2 ? argv[2] : "story.session";

    bool const resumed = std::filesystem::exists(file);
    gf::session session = resumed ? gf::session{lm, file} : gf::session{lm};
    // The sampler is not part of the session: seeded by the position, every run draws anew and can be repeated.
    gf::sampler sampler({.presence_penalty = 0, .frequency_penalty = 0, .seed = session.position()});
    // An empty prompt goes on from what the session has seen.
    gf::generate(session, gf::byte_tokenizer{}, resumed ? "" : "JULIET:\n", sampler, {.max_tokens = 200},
                 [](std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); });
    session.save(file);
    std::fprintf(stderr, "\n(%zu tokens so far, saved in %s: run it again to go on)\n", session.position(), file.c_str());
} catch (gf::error const& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
}
