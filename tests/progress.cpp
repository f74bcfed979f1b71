// SPDX-License-Identifier: Apache-2.0
#include <goldfinch/architectures.hpp>
#include <goldfinch/backend/simd.hpp>
#include <goldfinch/cache/compressed_keys.hpp>
#include <goldfinch/model.hpp>
#include <goldfinch/session.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "io/builders.hpp"

namespace gf = goldfinch;

namespace {

inline constexpr gf::config small = gf::checked({.vocab_size = 300, .n_layer = 5, .n_gold = 2, .n_embd = 64, .head_size = 32});
using compact = gf::model<small, gf::simd<gf::bf16>, gf::compressed_keys<gf::int8>>;
using own_keys = gf::model<small, gf::simd<gf::bf16>, gf::compressed_keys<gf::int8>, gf::goldfinch_gptalpha_stack<small>>;

using tokens = std::vector<gf::token>;
using calls = std::vector<std::pair<std::size_t, std::size_t>>;  // done and total of each

tokens random_tokens(std::size_t n, unsigned seed = 1) {
    std::mt19937 random(seed);
    tokens result(n);
    for (auto& t : result) t = static_cast<gf::token>(random() % small.vocab_size);
    return result;
}

std::vector<float> copy(std::span<float const> logits) { return {logits.begin(), logits.end()}; }

template <class Model>
std::vector<float> logits_after(Model const& lm, std::span<gf::token const> read) {
    gf::session session{lm};
    session.append(read);
    return copy(session.logits());
}

/// Writes down its calls, and says no to the one with `last` tokens done.
struct recorder {
    calls& seen;
    std::size_t last;
    bool operator()(std::size_t done, std::size_t total) const {
        seen.emplace_back(done, total);
        return done != last;
    }
};
constexpr std::size_t never = ~std::size_t{0};

static_assert(!gf::progress_receiver<int> && !gf::progress_receiver<std::string (*)(std::size_t, std::size_t)>);

calls const whole{{256, 700}, {512, 700}, {700, 700}};

}  // namespace

TEST_CASE_TEMPLATE("append tells how far it is, and where it is cancelled the session goes on as if nothing had been", Model, compact, own_keys) {
    auto const lm = Model::random(1);
    auto const text = random_tokens(700);
    auto const before = random_tokens(5, 2);
    auto const start = [&] {
        gf::session session{lm};
        session.append(before);
        return session;
    };
    auto plain = start();
    plain.append(text);
    auto const expected = copy(plain.logits());
    {
        auto session = start();
        calls seen;
        CHECK(session.append(text, recorder{seen, never}) == 700);
        CHECK(seen == whole);
        CHECK(session.position() == 705);
        CHECK(copy(session.logits()) == expected);
    }
    for (std::size_t const last : {256u, 512u, 700u}) {
        CAPTURE(last);
        auto session = start();
        calls seen;
        CHECK(session.append(text, recorder{seen, last}) == last);
        CHECK(seen.back() == std::pair<std::size_t, std::size_t>(last, 700));
        CHECK(session.position() == 5 + last);
        CHECK(session.cache_bytes() <= plain.cache_bytes());
        if (last == 256) CHECK(session.cache_bytes() < plain.cache_bytes() / 2);  // no room for what is not read

        auto fork = session, cut = start();
        cut.append(std::span(text).first(last));
        CHECK(copy(fork.logits()) == copy(cut.logits()));
        CHECK(copy(fork.step(7)) == copy(cut.step(7)));

        session.append(std::span(text).subspan(last), [](std::size_t, std::size_t) {});
        CHECK(session.position() == 705);
        CHECK(copy(session.logits()) == expected);
    }
}

TEST_CASE("append with a function that throws keeps what it has read") {
    auto const lm = compact::random(1);
    auto const text = random_tokens(700);
    auto const expected = logits_after(lm, text);
    for (std::size_t const last : {256u, 512u, 700u}) {
        gf::session session{lm};
        auto const fail = [&](std::size_t done, std::size_t) {
            if (done == last) throw std::logic_error("enough");
        };
        CHECK_THROWS_WITH_AS(session.append(text, fail), "enough", std::logic_error);
        CHECK(session.position() == last);
        auto fork = session;
        CHECK(copy(fork.logits()) == logits_after(lm, std::span(text).first(last)));
        session.append(std::span(text).subspan(last));
        CHECK(copy(session.logits()) == expected);

        gf::session scored{lm};
        CHECK_THROWS_AS(scored.score(text, fail), std::logic_error);
        CHECK(scored.position() == last);
        CHECK(std::isfinite(scored.step(1)[0]));
    }
}

TEST_CASE("what progress is told to may use the session and others of its model") {
    build::temporary_directory const dir;
    auto const lm = compact::random(1);
    auto const text = random_tokens(600);
    gf::session session{lm};
    std::vector<gf::session<compact>> forks;
    gf::session other{lm};
    session.append(text, [&](std::size_t done, std::size_t) {
        CHECK(session.position() == done);
        forks.push_back(session);
        session.save(dir.path("s"));
        other.append(tokens{1, 2, 3});
        gf::session restored{lm, dir.path("s")};
        CHECK(copy(restored.logits()) == logits_after(lm, std::span(text).first(done)));
        return true;
    });
    CHECK(forks.size() == 3);
    CHECK(forks[1].position() == 512);
    CHECK(other.position() == 9);
    CHECK(copy(session.logits()) == logits_after(lm, text));
}

TEST_CASE("progress is told nothing of a call that does nothing or cannot be done") {
    gf::session session{compact::random(1)};
    calls seen;
    CHECK(session.append({}, recorder{seen, never}) == 0);
    CHECK(session.score({}, recorder{seen, never}).empty());
    auto bad = random_tokens(600);
    bad[599] = small.vocab_size;  // in the last pass: nothing of the others is read
    CHECK_THROWS_AS(session.append(bad, recorder{seen, never}), gf::token_error);
    CHECK_THROWS_AS(session.score(bad, recorder{seen, never}), gf::token_error);
    CHECK(build::message_of<gf::token_error>([&] { session.append(bad, recorder{seen, never}); }).find("index 599") != std::string::npos);
    CHECK(session.position() == 0);
    gf::session const moved = std::move(session);
    CHECK_THROWS_AS(session.append({}, recorder{seen, never}), gf::session_error);
    CHECK_THROWS_AS(session.score({}, recorder{seen, never}), gf::session_error);
    CHECK(seen.empty());
}

TEST_CASE("score tells how far it is, and where it is cancelled returns the scores of what it read") {
    auto const lm = compact::random(4);
    auto const text = random_tokens(700);
    for (std::size_t const n_before : {0u, 5u}) {
        gf::session start{lm};
        start.append(random_tokens(n_before, 2));
        auto plain = start;
        auto const expected = plain.score(text);
        auto const after = copy(plain.logits());
        for (std::size_t const last : {never, std::size_t{256}, std::size_t{512}, std::size_t{700}}) {
            CAPTURE(last);
            auto session = start;
            calls seen;
            auto scores = session.score(text, recorder{seen, last});
            std::size_t const read = last == never ? text.size() : last;
            REQUIRE(scores.size() == read);
            CHECK(seen == calls(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>((read + 255) / 256)));
            CHECK(session.position() == n_before + read);
            CHECK(scores == std::vector<double>(expected.begin(), expected.begin() + static_cast<std::ptrdiff_t>(read)));
            auto const rest = session.score(std::span(text).subspan(read));
            // The logits before the first of the rest are computed again, of one row in place of many.
            for (std::size_t i = 0; i < rest.size(); ++i) CHECK(std::abs(rest[i] - expected[read + i]) <= (i == 0 ? 0.1 : 0));
            CHECK(copy(session.logits()) == after);
        }
    }
}

TEST_CASE("a batch tells how far it is, and where it is cancelled each session says what it has seen") {
    auto const lm = compact::random(1);
    std::vector<tokens> const prompts{random_tokens(300, 1), {}, random_tokens(10, 2), random_tokens(400, 3)};
    std::vector<gf::session<compact>> const start(4, gf::session{lm});
    auto plain = start;
    gf::append(plain, prompts);
    auto const run = [&](std::size_t last) {
        auto sessions = start;
        calls seen;
        std::size_t const read = gf::append(sessions, prompts, recorder{seen, last});
        CHECK(read == (last == never ? 710 : last));
        CHECK(seen.back().first == read);
        for (auto const& [done, total] : seen) CHECK(total == 710);
        return sessions;
    };
    auto const check = [&](std::vector<gf::session<compact>>& sessions) {
        for (std::size_t const i : {0u, 2u, 3u}) CHECK(copy(sessions[i].logits()) == copy(plain[i].logits()));
    };
    auto all = run(never);
    check(all);
    auto sessions = run(512);
    CHECK(sessions[0].position() == 300);
    CHECK(sessions[2].position() == 10);
    CHECK(sessions[3].position() == 202);
    std::vector<tokens> rest;
    for (std::size_t i = 0; i < 4; ++i) rest.emplace_back(prompts[i].begin() + static_cast<std::ptrdiff_t>(sessions[i].position()), prompts[i].end());
    CHECK(gf::append(sessions, rest, [](std::size_t done, std::size_t total) { return done < total; }) == 198);
    check(sessions);

    auto again = start;
    CHECK_THROWS_AS(gf::append(again, prompts, [](std::size_t, std::size_t) { throw std::logic_error("enough"); }), std::logic_error);
    CHECK(again[0].position() == 256);
    CHECK(again[2].position() == 0);
    CHECK(std::isfinite(again[0].logits()[0]));

    auto bad = prompts;
    bad[3].back() = small.vocab_size;
    CHECK_THROWS_AS(gf::append(again, bad, [](std::size_t, std::size_t) {}), gf::token_error);
    CHECK(again[0].position() == 256);
    CHECK(gf::append(std::vector<gf::session<compact>>{}, std::vector<tokens>{}, [](std::size_t, std::size_t) {}) == 0);
    CHECK_THROWS_AS(gf::append(again, std::vector<tokens>(3), [](std::size_t, std::size_t) {}), gf::session_error);
}
