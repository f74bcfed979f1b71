// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include <goldfinch/goldfinch.hpp>

#include "../../examples/commands/shakespeare.hpp"

namespace gf = goldfinch;

namespace {

using tokens = std::vector<gf::token>;

inline constexpr gf::config tiny = gf::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 64, .head_size = 16});
template <class Weight, class Cache = gf::compressed_keys<gf::bf16>>
using model = gf::model<tiny, gf::simd<Weight>, Cache>;

std::string const verse = "the cat sat on the mat and the cat sat on the hat ";

tokens bytes(std::string_view text) { return gf::byte_tokenizer{}.encode(text); }

bool same(std::span<float const> a, std::span<float const> b) { return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin()); }

/// Whether a step of several tokens gives the bits of as many steps, for 2 to 16 tokens behind prompts that end near the end of a page.
template <class Model>
bool few_are_as_one(gf::load_options const& options) {
    auto const lm = Model::random(5, options);
    for (std::size_t before : {3u, 60u, 125u}) {
        tokens text(before + 16);
        for (std::size_t i = 0; i < text.size(); ++i) text[i] = gf::token(i * i % 251);
        gf::session start{lm};
        start.append(std::span(text).first(before));
        for (std::size_t n : {2u, 3u, 5u, 6u, 7u, 8u, 9u, 15u, 16u}) {
            gf::session together = start, alone = start;
            auto const all = together.step(std::span(text).subspan(before, n));
            for (std::size_t i = 0; i < n; ++i)
                if (!same(all.subspan(i * 256, 256), alone.step(text[before + i]))) return false;
            if (!same(together.step(7), alone.step(7))) return false;  // and leaves the same state
        }
    }
    return true;
}

struct written {
    std::string text;
    gf::generation what;
    tokens seen;
    std::vector<float> next;  // logits of what comes then
};

template <class Model>
written write(Model const& lm, std::string_view prompt, gf::sampling_options const& sampling, gf::generate_options options, std::size_t draft) {
    options.draft = {.tokens = draft, .ngram = 2};
    gf::session session{lm};
    written out{};
    out.what = gf::generate(session, gf::byte_tokenizer{}, prompt, gf::sampler(sampling), options, [&](std::string_view text) { out.text += text; });
    CHECK(session.position() == prompt.size() + out.what.n_tokens);
    auto const logits = session.step(65);
    out.next.assign(logits.begin(), logits.end());
    return out;
}

template <class Weight>
void check_same_text() {
    using shakespeare = gf::model<commands::shakespeare, gf::simd<Weight>>;
    auto const lm = shakespeare::load(GOLDFINCH_SOURCE_DIR "/examples/models/shakespeare.safetensors");
    std::string const play = "ROMEO:\nO, she doth teach the torches to burn bright!\n\nJULIET:\nO Romeo, Romeo! wherefore art thou Romeo?\n\n";
    std::size_t passes = 0;
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        CAPTURE(seed);
        std::string const prompt = play.substr(seed, 30 + 3 * seed);
        gf::sampling_options const sampling{.temperature = seed % 4 == 0 ? 0.0f : 0.7f, .presence_penalty = 0, .frequency_penalty = 0, .seed = seed};
        auto const plain = write(lm, prompt, sampling, {.max_tokens = 50}, 0);
        CHECK(plain.what.n_passes == 50);
        for (std::size_t draft : {4u, 15u}) {
            auto const drafted = write(lm, prompt, sampling, {.max_tokens = 50}, draft);
            CHECK(drafted.text == plain.text);
            CHECK(drafted.what.n_tokens == 50);
            CHECK(same(drafted.next, plain.next));
            passes += drafted.what.n_passes;
        }
    }
    CHECK(passes < 20 * 2 * 45);
}

}  // namespace

TEST_CASE("draft: what followed the last time") {
    using gf::detail::propose;
    CHECK(propose(bytes("abcdefab"), 2, 3) == bytes("cde"));
    CHECK(propose(bytes("abXabYab"), 2, 1) == bytes("Y"));
    CHECK(propose(bytes("cabXdabYcab"), 2, 1) == bytes("X"));  // where more of them stood
    CHECK(propose(bytes("abcabc"), 3, 8) == bytes("abcabcab"));  // goes on behind the end
    CHECK(propose(bytes("aaaa"), 2, 4) == bytes("aaaa"));
    CHECK(propose(bytes("abcd"), 2, 4).empty());
    CHECK(propose(bytes("ab"), 2, 4).empty());
    CHECK(propose(bytes(""), 1, 4).empty());
    CHECK(propose(bytes("abab"), 2, 0).empty());
}

TEST_CASE_TEMPLATE("a step of up to 16 tokens has the bits of as many steps", Weight, float, gf::bf16, gf::int8, gf::int4) {
    CHECK(few_are_as_one<model<Weight>>({.threads = 2}));
    CHECK(few_are_as_one<model<Weight>>({.threads = 1, .working_set = 0}));
}

TEST_CASE_TEMPLATE("a step of up to 16 tokens has the bits of as many steps, with every cache", Cache, gf::compressed_keys<gf::int8>, gf::full_keys<float>,
                   gf::expanded_kv<gf::bf16>, gf::expanded_kv<gf::int8>) {
    CHECK(few_are_as_one<model<gf::bf16, Cache>>({.threads = 2}));
}

TEST_CASE_TEMPLATE("drafts: the same text, in fewer passes", Weight, float, gf::bf16, gf::int8) { check_same_text<Weight>(); }

TEST_CASE("drafts: a text that repeats itself") {
    auto const lm = model<gf::bf16>::random(3);
    gf::session session{lm};
    session.append(bytes("once "));
    tokens const script = bytes(verse + verse + verse + verse);
    std::size_t drawn = 0;
    auto const result = gf::generate(
        session, gf::byte_tokenizer{}, verse, [&](std::span<float const>) { return script[drawn++]; },
        {.max_tokens = script.size(), .draft = {.tokens = 15, .ngram = 3}}, [](std::string_view) {});
    CHECK(result.n_tokens == script.size());
    CHECK(result.n_tokens > 8 * result.n_passes);
    gf::session plain{lm};
    plain.append(bytes("once "));
    plain.append(bytes(verse));
    for (gf::token const t : script) (void)plain.step(t);
    CHECK(same(session.logits(), plain.logits()));
    CHECK(session.position() == plain.position());
}

TEST_CASE("drafts: every end leaves the session with what was drawn") {
    auto const lm = model<float>::random(3);
    tokens const script = bytes(verse + verse);
    for (int end = 0; end < 5; ++end) {
        CAPTURE(end);
        auto const run = [&](std::size_t draft) {
            gf::session session{lm};
            std::size_t drawn = 0;
            gf::generate_options options{.max_tokens = end == 0 ? 61u : 90u, .draft = {.tokens = draft, .ngram = 2}};
            if (end == 1) options.stop_tokens = {gf::token('h')};
            if (end == 2) options.stop_strings = {"hat the"};
            std::string text;
            try {
                (void)gf::generate(
                    session, gf::byte_tokenizer{}, verse,
                    [&](std::span<float const>) {
                        if (end == 4 && drawn == 43) throw std::runtime_error("no more");
                        return script[drawn++];
                    },
                    options, [&](std::string_view piece) { return (text += piece).size() < (end == 3 ? 55u : 1000u); });
                CHECK(end != 4);
            } catch (std::runtime_error const&) {
                CHECK(end == 4);
            }
            auto const logits = session.step(65);
            return std::pair(std::vector<float>(logits.begin(), logits.end()), text + std::to_string(session.position()));
        };
        CHECK(run(12) == run(0));
    }
}

TEST_CASE("drafts: a token outside the vocabulary ends it where it is drawn") {
    auto const lm = model<float>::random(3);
    gf::session session{lm};
    tokens const script = bytes(verse);
    std::size_t drawn = 0;
    auto const choose = [&](std::span<float const>) { return drawn == 30 ? gf::token(256) : script[drawn++]; };
    struct lenient {  // decodes any token
        tokens encode(std::string_view text) const { return gf::byte_tokenizer{}.encode(text); }
        std::string decode(std::span<gf::token const>) const { return "."; }
    };
    CHECK_THROWS_AS(gf::generate(session, lenient{}, verse, choose, {.draft = {.tokens = 6}}, [](std::string_view) {}), gf::token_error);
    CHECK(session.position() == verse.size() + 30);
    gf::session plain{lm};
    plain.append(bytes(verse));
    for (std::size_t i = 0; i < 30; ++i) (void)plain.step(script[i]);
    CHECK(same(session.logits(), plain.logits()));
}

TEST_CASE("drafts: options out of their range are an error before anything is read") {
    auto const lm = model<float>::random(3);
    gf::session session{lm};
    auto const draft = [&](std::size_t n, std::size_t ngram) {
        return gf::generate(session, gf::byte_tokenizer{}, "ab", gf::sampler{}, {.max_tokens = 2, .draft = {.tokens = n, .ngram = ngram}}, [](std::string_view) {});
    };
    CHECK_THROWS_WITH_AS(draft(16, 2), "goldfinch: draft.tokens must be at most 15, found 16", gf::config_error);
    CHECK_THROWS_WITH_AS(draft(1, 0), "goldfinch: draft.ngram must be at least 1, found 0", gf::config_error);
    CHECK(session.position() == 0);
}
