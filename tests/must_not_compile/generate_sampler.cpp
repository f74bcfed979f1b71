// SPDX-License-Identifier: Apache-2.0
// expect: goldfinch: the fourth argument of generate draws a token from logits: a sampler or a function
#include <goldfinch/goldfinch.hpp>

namespace gf = goldfinch;

struct session {
    void append(std::span<gf::token const>);
    std::span<float const> logits();
    std::size_t position() const;
};

void speak(session& s) {
    gf::generate(s, gf::byte_tokenizer{}, "To be", 0.7f, {}, [](auto) {});
}
