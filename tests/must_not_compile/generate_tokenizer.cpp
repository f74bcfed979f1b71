// SPDX-License-Identifier: Apache-2.0
// expect: goldfinch: the second argument of generate is a tokenizer: it encodes text and decodes tokens
#include <goldfinch/goldfinch.hpp>

namespace gf = goldfinch;

struct session {
    void append(std::span<gf::token const>);
    std::span<float const> logits();
    std::size_t position() const;
};

void speak(session& s) {
    gf::generate(s, "words", "To be", [](auto) { return gf::token{}; }, {}, [](auto) {});
}
