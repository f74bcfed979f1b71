// SPDX-License-Identifier: Apache-2.0
// The bundled model composed by hand, with other caches: the same text, the same score, other memory and time.

#include <goldfinch/goldfinch.hpp>

#include <cstdio>
#include <numeric>

namespace gf = goldfinch;

inline constexpr gf::config shakespeare = gf::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 128, .head_size = 32});

// Put another layer in, or other counts, and it is another model: model::random(seed) makes weights for it until you trained some.
using recurrent = gf::block<gf::finch_c2<shakespeare>, gf::channel_mix<shakespeare>>;
using attending = gf::block<gf::gold<shakespeare>, gf::channel_mix<shakespeare>>;
using blocks = gf::stack<gf::repeat<recurrent, 4>, gf::token_cat<shakespeare>, gf::repeat<attending, 2>>;

template <class Cache>
void report(char const* cache, char const* file) {
    auto const lm = gf::model<shakespeare, gf::simd<gf::bf16>, Cache, blocks>::load(file);
    gf::session session{lm};
    auto const scores = session.score(gf::byte_tokenizer{}.encode("ROMEO:\nBut, soft! what light through yonder window breaks?\n"));
    std::printf("%-24s %.4f nats a byte, %8zu bytes of cache for %zu tokens\n", cache,
                -std::accumulate(scores.begin(), scores.end(), 0.0) / static_cast<double>(scores.size()), session.cache_bytes(), session.position());
}

int main(int argc, char** argv) try {
    char const* const file = argc > 1 ? argv[1] : "examples/models/shakespeare.safetensors";
    report<gf::compressed_keys<gf::int8>>("compressed_keys<int8>", file);
    report<gf::compressed_keys<gf::bf16>>("compressed_keys<bf16>", file);
    report<gf::expanded_kv<float>>("expanded_kv<float>", file);
} catch (gf::error const& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
}
