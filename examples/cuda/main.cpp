// SPDX-License-Identifier: Apache-2.0
// Continues a prompt on a GPU, or where there is none says why and does so on the CPU. Two sessions of a batch share one pass over the weights.

#include "shakespeare.hpp"

#include <goldfinch/backend/simd.hpp>

#include <array>
#include <cstdio>
#include <string_view>
#include <vector>

namespace gf = goldfinch;

namespace {

template <class Model>
void run(Model const& lm) {
    gf::session session{lm};
    gf::sampler sampler({.top_p = 0.9f, .presence_penalty = 0, .frequency_penalty = 0, .seed = 1});
    std::fputs("ROMEO:", stdout);
    gf::generate(session, gf::byte_tokenizer{}, "ROMEO:", sampler, {.max_tokens = 200}, [](std::string_view text) {
        std::fwrite(text.data(), 1, text.size(), stdout);
        std::fflush(stdout);
    });
    std::puts("");

    std::array<gf::session<Model>, 2> both{session, gf::session{lm}};
    gf::append(both, std::vector<std::vector<gf::token>>{{'M', 'y'}, {'W', 'h', 'y'}});
    gf::step(both, std::array<gf::token, 2>{' ', ' '});
    std::printf("seen: %zu and %zu tokens\n", both[0].position(), both[1].position());
}

}  // namespace

int main(int argc, char** argv) try {
    char const* const path = argc > 1 ? argv[1] : "examples/models/shakespeare.safetensors";
    try {
        run(shakespeare::load(path));
    } catch (gf::cuda_error const& e) {
        std::fprintf(stderr, "%s\n", e.what());
        run(gf::model<shakespeare_config>::load(path));
    }
} catch (gf::error const& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
}
