// SPDX-License-Identifier: Apache-2.0
// Asks a model for the values of keys that it has read, and compares the memory it needs for them with that of a Llama of the same width and depth.

#include "recall.hpp"

#include <cstdio>
#include <exception>

namespace gf = goldfinch;

template <class Key>
void ask(char const* keys, std::filesystem::path const& file, recall::task const& t) {
    auto const lm = gf::model<recall::shape, gf::simd<gf::bf16>, gf::compressed_keys<Key>>::load(file);
    gf::session session{lm};
    session.append(t.prompt);
    std::size_t const bytes = session.cache_bytes(), right = recall::n_recalled(session, t);
    std::printf("GoldFinch, %s keys: %zu of %zu values recalled, %zu bytes of cache for %zu tokens\n", keys, right, t.keys.size(), bytes, t.prompt.size());
}

int main(int argc, char** argv) try {
    std::filesystem::path const file = argc > 1 ? argv[1] : "examples/models/recall.safetensors";
    std::mt19937 random(1);
    recall::task const t = recall::draw(1000, recall::n_keys(file), random);
    std::printf("%u %u, %u %u, ... %u?\n", t.prompt[0], t.prompt[1], t.prompt[2], t.prompt[3], t.keys[0]);

    ask<gf::bf16>("bf16", file, t);  // 4 values of a key are 8 bytes, and as many in int8 with their scale
    ask<gf::int8>("int8", file, t);
    using llama = gf::model<recall::shape, gf::simd<gf::bf16>, gf::compressed_keys<gf::bf16>, gf::llama_stack<recall::shape>>;
    std::printf("A Llama of this width and depth, bf16: %zu bytes of cache\n", gf::session<llama>::cache_bytes_per_token * t.prompt.size());
} catch (std::exception const& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
}
