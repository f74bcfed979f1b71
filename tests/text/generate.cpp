// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <goldfinch/error.hpp>
#include <goldfinch/text/byte_tokenizer.hpp>
#include <goldfinch/text/generate.hpp>
#include <goldfinch/text/sampler.hpp>
#include <goldfinch/text/text_stream.hpp>
#include <goldfinch/utf8.hpp>

namespace gf = goldfinch;

namespace {

using tokens = std::vector<gf::token>;
using list = std::vector<std::string>;

/// Whose tokens have the texts given; every byte of a prompt is token 0.
struct piece_tokenizer {
    list texts;
    tokens encode(std::string_view text) const { return tokens(text.size(), 0); }
    std::string decode(std::span<gf::token const> ids) const {
        std::string out;
        for (gf::token const id : ids) out += texts.at(id);
        return out;
    }
};

/// A session that makes greedy sampling draw 0, 1, 2, ... or what the script says.
struct fake_session {
    std::size_t vocab;
    tokens script;
    tokens seen = {};
    std::size_t n_logits = 0;   // calls of logits
    std::vector<float> row = {};

    void append(std::span<gf::token const> ids) { seen.insert(seen.end(), ids.begin(), ids.end()); }
    std::span<float const> logits() {
        row.assign(vocab, 0.0f);
        row[n_logits < script.size() ? script[n_logits] : static_cast<gf::token>(n_logits)] = 10;
        ++n_logits;
        return row;
    }
    std::size_t position() const { return seen.size(); }
};

static_assert(gf::token_sequence<fake_session> && gf::token_chooser<gf::sampler> && gf::tokenizer<piece_tokenizer>);

gf::sampler greedy() { return gf::sampler({.temperature = 0, .presence_penalty = 0, .frequency_penalty = 0}); }

struct outcome {
    list pieces;   // what on_text was given
    gf::generation what;
    tokens seen;   // by the session
    std::size_t n_logits;

    std::string text() const {
        std::string all;
        for (std::string const& piece : pieces) all += piece;
        return all;
    }
};

/// Draws tokens whose texts are `texts`, one after another.
outcome stream(list const& texts, gf::generate_options options) {
    if (options.max_tokens == 256) options.max_tokens = texts.size();
    fake_session session{texts.size(), {}};
    outcome out{};
    out.what = gf::generate(session, piece_tokenizer{texts}, "pp", greedy(), options, [&](std::string_view text) {
        out.pieces.emplace_back(text);
        return true;
    });
    out.seen = session.seen;
    out.n_logits = session.n_logits;
    return out;
}

bool is_utf8(std::string_view text) {
    while (!text.empty()) {
        auto const [kind, size] = gf::detail::first_utf8(text);
        if (kind != gf::detail::utf8_kind::character) return false;
        text.remove_prefix(size);
    }
    return true;
}

}  // namespace

TEST_CASE("generate: draws, appends and streams") {
    auto const out = stream({"To", " be", ", or", " not"}, {});
    CHECK(out.pieces == list{"To", " be", ", or", " not"});
    CHECK(out.what.n_tokens == 4);
    CHECK(out.what.reason == gf::stop_reason::max_tokens);
    CHECK(out.seen == tokens{0, 0, 0, 1, 2, 3});  // the prompt's two, and every token drawn
    CHECK(out.n_logits == 4);                     // none after the last draw
}

TEST_CASE("generate: max_tokens") {
    CHECK(stream({"a", "b", "c"}, {.max_tokens = 2}).pieces == list{"a", "b"});
    auto const none = stream({"a", "b"}, {.max_tokens = 0});
    CHECK(none.pieces.empty());
    CHECK(none.seen == tokens{0, 0});
    CHECK(none.n_logits == 0);
}

TEST_CASE("generate: characters split between tokens") {
    // é, €, 😀 a byte a token
    CHECK(stream({"a\xc3", "\xa9" "b"}, {}).pieces == list{"a", "\xc3\xa9" "b"});
    CHECK(stream({"\xe2", "\x82", "\xac"}, {}).pieces == list{"\xe2\x82\xac"});
    CHECK(stream({"\xf0", "\x9f", "\x98", "\x80!"}, {}).pieces == list{"\xf0\x9f\x98\x80!"});
    CHECK(stream({"\xf0\x9f\x98\x80\xf0\x9f", "\x98\x80"}, {}).pieces == list{"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"});
}

TEST_CASE("generate: bytes that are no UTF-8 become U+FFFD and are not held") {
    std::string const bad = "\xef\xbf\xbd";
    CHECK(stream({"\xff", "a"}, {}).pieces == list{bad, "a"});
    CHECK(stream({"\x80\x80", "a"}, {}).pieces == list{bad + bad, "a"});
    CHECK(stream({"\xe2\x82", "a"}, {}).pieces == list{bad + "a"});                // cut short by the next token
    CHECK(stream({"\xe2\x82", "\xe2\x82\xac"}, {}).pieces == list{bad + "\xe2\x82\xac"});
    CHECK(stream({"a", "\xf0\x9f"}, {}).pieces == list{"a", bad});                 // cut short by the end
    CHECK(stream({"\xc0\xaf"}, {}).pieces == list{bad + bad});                     // overlong
    CHECK(stream({"\xed\xa0\x80"}, {}).pieces == list{bad + bad + bad});           // a surrogate
    CHECK(stream({"\xf4\x90\x80\x80"}, {}).pieces == list{bad + bad + bad + bad});
    CHECK(stream({"\xf0\x80\x80\x41"}, {}).pieces == list{bad + bad + bad + "A"});
    // The example of the Unicode Standard, table 3-8.
    CHECK(stream({"a\xf1\x80\x80\xe1\x80\xc2" "b\x80" "c\x80\xbf" "d"}, {}).text() == "a" + bad + bad + bad + "b" + bad + "c" + bad + bad + "d");

    std::mt19937_64 random(5);
    for (int i = 0; i < 300; ++i) {
        list texts(1 + random() % 8);
        for (std::string& text : texts) {
            for (std::size_t n = random() % 4; n > 0; --n) text.push_back(static_cast<char>("\xe2\x82\xac\xf0\x9f\x98\x80\xc3" "a"[random() % 9]));
        }
        list whole(1);
        for (std::string const& text : texts) whole[0] += text;
        auto const out = stream(texts, {});
        for (std::string const& piece : out.pieces) CHECK((!piece.empty() && is_utf8(piece)));
        CHECK(out.text() == stream(whole, {}).text());
    }
}

TEST_CASE("generate: stop strings") {
    auto const stop = [](list const& texts, list const& stops) { return stream(texts, {.stop_strings = stops}); };
    auto const a = stop({"one", " two\n\nthree", " four"}, {"\n\n"});  // within a token: what precedes it is emitted
    CHECK(a.pieces == list{"one", " two"});
    CHECK(a.what.reason == gf::stop_reason::stop_string);
    CHECK(a.what.n_tokens == 2);
    CHECK(a.seen == tokens{0, 0, 0, 1});

    CHECK(stop({"one\n", "\ntwo"}, {"\n\n"}).pieces == list{"one"});                  // across tokens
    CHECK(stop({"one\n", "two", "\n"}, {"\n\n"}).pieces == list{"one", "\ntwo", "\n"});  // held back, then released
    CHECK(stop({"a\n"}, {"\n\n"}).pieces == list{"a", "\n"});
    CHECK(stop({"ab", "ab", "ac", "x"}, {"abac"}).pieces == list{"ab"});              // begins amid a false start
    CHECK(stop({"a", "a", "a", "b"}, {"aab"}).pieces == list{"a"});
    CHECK(stop({"S", "T", "O", "P"}, {"STOP"}).pieces.empty());
    CHECK(stop({"S", "T", "O", "O"}, {"STOP"}).pieces == list{"STOO"});
    CHECK(stop({"x", "STO", "ST", "OP"}, {"STOP"}).pieces == list{"x", "STO"});
    CHECK(stop({"a", "User", ":"}, {"Bot:", "User:"}).pieces == list{"a"});
    CHECK(stop({"say Bot", ": User:"}, {"User:", "Bot:"}).pieces == list{"say "});
    CHECK(stop({"abcd"}, {"bcd", "abcd"}).text() == "");                              // both end here: the longer
    CHECK(stop({"abcd"}, {"abcd", "bc"}).text() == "a");                              // the one that ends first
    CHECK(stop({"a", "b", "c", "d"}, {"abcd", "bc"}).text() == "a");
    CHECK(stop({"\xe2\x82", "\xac" "5"}, {"\xe2\x82\xac"}).pieces.empty());           // a character in two tokens
    CHECK(stop({"a\xe2", "b"}, {"b"}).text() == "a\xef\xbf\xbd");                     // what stood before it was cut short
    CHECK_THROWS_AS(stop({"a"}, {"x", ""}), gf::config_error);
}

TEST_CASE("generate: where stop strings cut does not depend on the tokens") {
    std::mt19937_64 random(6);
    for (int i = 0; i < 2000; ++i) {
        auto const word = [&](std::size_t least, std::size_t most) {
            std::string out;
            for (std::size_t n = least + random() % (most - least + 1); n > 0; --n) out += "ab"[random() % 2];
            return out;
        };
        list const stops{word(1, 5), word(2, 5)};
        std::string const text = word(1, 20);
        list bytes, parts(1);
        for (char const c : text) {
            bytes.emplace_back(1, c);
            if (random() % 3 == 0) parts.emplace_back();
            parts.back() += c;
        }
        std::string const expected = stream(bytes, {.stop_strings = stops}).text();
        CHECK(stream({text}, {.stop_strings = stops}).text() == expected);
        CHECK(stream(parts, {.stop_strings = stops}).text() == expected);
        CHECK(text.starts_with(expected));
        for (std::string const& stop : stops) CHECK(expected.find(stop) == std::string::npos);
    }
}

TEST_CASE("generate: stop tokens end the text, are appended and not emitted") {
    auto const out = stream({"a", "b", "<end>", "c"}, {.stop_tokens = {3, 2}});
    CHECK(out.pieces == list{"a", "b"});
    CHECK(out.what.n_tokens == 3);
    CHECK(out.what.reason == gf::stop_reason::stop_token);
    CHECK(out.seen == tokens{0, 0, 0, 1, 2});
    CHECK(stream({"a\n", "<end>"}, {.stop_tokens = {1}, .stop_strings = {"\n\n"}}).pieces == list{"a", "\n"});  // what was held back comes
}

TEST_CASE("a stop token outside the vocabulary is refused") {
    CHECK_THROWS_WITH_AS(stream({"a", "b"}, {.stop_tokens = {1, 2}}), "goldfinch: stop token 2 is out of range, there are 2 logits", gf::token_error);
}

TEST_CASE("generate: a receiver that stops, returns nothing or throws") {
    list const texts{"a", "b", "c"};
    piece_tokenizer const words{texts};
    std::string got;
    fake_session session{3, {}};
    auto const what = gf::generate(session, words, "p", greedy(), {}, [&](std::string_view text) {
        got += text;
        return got.size() < 2;
    });
    CHECK(got == "ab");
    CHECK(what.reason == gf::stop_reason::receiver);
    CHECK(what.n_tokens == 2);
    CHECK(session.seen == tokens{0, 0, 1});

    got.clear();
    fake_session second{3, {}};
    gf::generate(second, words, "p", greedy(), {.max_tokens = 3}, [&](std::string_view text) { got += text; });
    CHECK(got == "abc");

    fake_session third{3, {}};
    CHECK_THROWS_AS(gf::generate(third, words, "p", greedy(), {}, [](std::string_view text) { if (text == "b") throw std::logic_error("enough"); }),
                    std::logic_error);
    CHECK(third.seen == tokens{0, 0, 1});  // what was drawn is there, and it can go on
    got.clear();
    gf::generate(third, words, "", greedy(), {.max_tokens = 1}, [&](std::string_view text) { got += text; });
    CHECK(got == "c");
}

TEST_CASE("generate: an empty prompt continues, but not from nothing") {
    piece_tokenizer const words{{"a", "b"}};
    auto const ignore = [](std::string_view) { return true; };
    fake_session session{2, {}};
    CHECK_THROWS_AS(gf::generate(session, words, "", greedy(), {}, ignore), gf::session_error);
    CHECK_THROWS_AS(gf::generate(session, words, "", greedy(), {.max_tokens = 0}, ignore), gf::session_error);
    CHECK(session.seen.empty());
    gf::generate(session, words, "p", greedy(), {.max_tokens = 0}, ignore);
    gf::generate(session, words, "", greedy(), {.max_tokens = 2}, ignore);
    CHECK(session.seen == tokens{0, 0, 1});
}

TEST_CASE("generate: samplers by value, by reference, and other functions") {
    gf::byte_tokenizer const bytes;
    auto const ignore = [](std::string_view) { return true; };
    gf::sampler kept({.top_p = 1, .seed = 9}), twin({.top_p = 1, .seed = 9});
    tokens const script(8, 'x');
    fake_session a{256, script}, b{256, script};
    gf::generate(a, bytes, "p", kept, {.max_tokens = 8}, ignore);
    gf::generate(b, bytes, "p", gf::sampler({.top_p = 1, .seed = 9}), {.max_tokens = 8}, ignore);
    CHECK(a.seen == b.seen);
    std::vector<float> const flat(256, 0.0f);
    tokens after, fresh;
    for (int i = 0; i < 10; ++i) after.push_back(kept(flat)), fresh.push_back(twin(flat));
    CHECK(after != fresh);  // an lvalue went on in its stream

    fake_session c{256, {}};
    int calls = 0;
    auto choose = [&calls](std::span<float const>) { return static_cast<gf::token>('A' + calls++); };
    std::string text;
    gf::generate(c, bytes, "p", choose, {.max_tokens = 3}, [&](std::string_view t) { text += t; });
    CHECK(text == "ABC");
}

TEST_CASE("generate: pieces of space, tab and digits count 0") {
    list const free{" ", "\t", " \t", "7", "12", "0123456789", ""}, counted{"21", "  ", "\n", "a", " 1"};
    list all = free;
    all.insert(all.end(), counted.begin(), counted.end());
    for (std::size_t i = 0; i < all.size(); ++i) {
        std::string const& text = all[i];
        bool const counts = i >= free.size();
        CAPTURE(text);
        CHECK(gf::detail::counts_for_penalty(text) == counts);
        // Token 0 leads by 10, so it is drawn until its frequency penalty of 20 a count has effect.
        piece_tokenizer const words{{text, "other"}};
        fake_session session{2, {0, 0}};
        gf::generate(session, words, "p", gf::sampler({.temperature = 0, .presence_penalty = 1, .frequency_penalty = 20}), {.max_tokens = 2},
                     [](std::string_view) {});
        CHECK(session.seen.back() == (counts ? 1 : 0));
    }
}

TEST_CASE("generate: progress of the prompt, which may be cancelled before a token is drawn") {
    piece_tokenizer const words{{"a", "b"}};
    std::string const prompt(600, 'p');
    std::vector<std::pair<std::size_t, std::size_t>> calls;
    std::string got;
    auto const run = [&](fake_session& session, std::size_t last) {
        calls.clear(), got.clear();
        gf::generate_options const options{.max_tokens = 2, .on_progress = [&](std::size_t done, std::size_t total) {
                                               CHECK(session.position() == done);
                                               calls.emplace_back(done, total);
                                               return done != last;
                                           }};
        return gf::generate(session, words, prompt, greedy(), options, [&](std::string_view text) { got += text; });
    };
    fake_session whole{2, {}};
    auto const all = run(whole, 0);
    CHECK(all.n_tokens == 2);
    CHECK(all.reason == gf::stop_reason::max_tokens);
    CHECK(got == "ab");
    CHECK(calls == decltype(calls){{256, 600}, {512, 600}, {600, 600}});

    for (std::size_t const last : {256u, 512u, 600u}) {
        fake_session session{2, {}};
        auto const what = run(session, last);
        CHECK(what.n_tokens == 0);
        CHECK(what.reason == gf::stop_reason::cancelled);
        CHECK(got.empty());
        CHECK(session.n_logits == 0);
        CHECK(session.position() == last);
    }

    fake_session thrown{2, {}};
    gf::generate_options const fail{.on_progress = [](std::size_t, std::size_t) -> bool { throw std::logic_error("enough"); }};
    CHECK_THROWS_AS(gf::generate(thrown, words, prompt, greedy(), fail, [](std::string_view) {}), std::logic_error);
    CHECK(thrown.position() == 256);
    // What was seen is gone on from without a prompt, of which nothing is told.
    auto const second = [](std::span<float const>) { return gf::token{1}; };
    CHECK_NOTHROW(gf::generate(thrown, words, "", second, {.max_tokens = 1, .on_progress = fail.on_progress}, [](std::string_view) {}));
    CHECK(thrown.position() == 257);
}

TEST_CASE("generate: drafts need a session that can check them") {
    fake_session session{4, {}};
    CHECK_THROWS_AS(gf::generate(session, piece_tokenizer{{"a", "b", "c", "d"}}, "pp", greedy(), {.max_tokens = 2, .draft = {.tokens = 2}}, [](std::string_view) {}),
                    gf::config_error);
    CHECK(session.seen.empty());
}
