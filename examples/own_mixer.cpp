// SPDX-License-Identifier: Apache-2.0
// GOLD on mixers of one's own: HGRN2, Griffin's RG-LRU and Infini-attention in the place of Finch-C2, each one header that you may copy and change.
// The weights are random, so there is nothing to read yet: what counts here is what a model and a session of it cost.

#include "mixers/hgrn2.hpp"
#include "mixers/infini_attention.hpp"
#include "mixers/rg_lru.hpp"

#include <goldfinch/goldfinch.hpp>

#include <algorithm>
#include <cstdio>
#include <string_view>

namespace gf = goldfinch;

inline constexpr gf::config C = gf::checked({.vocab_size = 256, .n_layer = 6, .n_gold = 2, .n_embd = 128, .head_size = 32});

// A time mix says what it is by its members (concepts.hpp); any that has them goes where Finch-C2 goes.
template <class TimeMix>
using gold_on =
    gf::stack<gf::repeat<gf::block<TimeMix, gf::channel_mix<C>>, 4>, gf::token_cat<C>, gf::repeat<gf::block<gf::gold<C>, gf::channel_mix<C>>, 2>>;

template <class TimeMix>
void report() {
    using model = gf::model<C, gf::simd<gf::bf16>, gf::compressed_keys<gf::bf16>, gold_on<TimeMix>>;
    auto const lm = model::random(1);  // lm.save and model::load are there for weights that you trained
    gf::session session{lm};
    gf::byte_tokenizer const bytes;
    session.append(bytes.encode("But, soft! what light through yonder window breaks?\n"));
    auto const logits = session.logits();
    auto const likeliest = std::max_element(logits.begin(), logits.end()) - logits.begin();

    gf::sampler sampler({.seed = 1});
    auto const result = gf::generate(session, bytes, "It is the east", sampler, {.max_tokens = 100}, [](std::string_view) {});
    std::printf("%-19s %zu parameters, next byte %td, %zu bytes drawn; after %zu tokens %zu bytes of state, %zu of cache\n", TimeMix::name,
                model::n_parameters, likeliest, result.n_tokens, session.position(), session.state_bytes(), session.cache_bytes());
}

int main() try {
    report<gf::finch_c2<C>>();
    report<mixers::hgrn2<C>>();
    report<mixers::rg_lru<C>>();
    report<mixers::infini_attention<C, 64>>();
} catch (gf::error const& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
}
