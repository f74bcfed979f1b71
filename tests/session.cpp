// SPDX-License-Identifier: Apache-2.0
#include <goldfinch/goldfinch.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "io/builders.hpp"

namespace gf = goldfinch;

namespace {

inline constexpr gf::config small = gf::checked({.vocab_size = 300, .n_layer = 5, .n_gold = 2, .n_embd = 64, .head_size = 32});
using model = gf::model<small, gf::simd<float>, gf::compressed_keys<float>>;
using compact = gf::model<small, gf::simd<gf::bf16>, gf::compressed_keys<gf::int8>>;
using expanded = gf::model<small, gf::simd<gf::bf16>, gf::expanded_kv<gf::bf16>>;
using own_keys = gf::model<small, gf::simd<gf::bf16>, gf::compressed_keys<gf::int8>, gf::goldfinch_gptalpha_stack<small>>;
using no_keys = gf::model<small, gf::simd<float>, gf::compressed_keys<>, gf::finch_stack<small>>;

std::vector<gf::token> random_tokens(std::size_t n, unsigned seed = 1) {
    std::mt19937 random(seed);
    std::vector<gf::token> tokens(n);
    for (auto& t : tokens) t = static_cast<gf::token>(random() % small.vocab_size);
    return tokens;
}

std::vector<float> copy(std::span<float const> logits) { return {logits.begin(), logits.end()}; }

double distance(std::span<float const> a, std::span<float const> b) {
    REQUIRE(a.size() == b.size());
    double worst = 0;
    for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, static_cast<double>(std::abs(a[i] - b[i])));
    return worst;
}

/// The logits after every token, one by one.
template <class Model>
std::vector<std::vector<float>> stepwise(Model const& lm, std::span<gf::token const> tokens) {
    std::vector<std::vector<float>> all;
    gf::session session{lm};
    for (gf::token const t : tokens) all.push_back(copy(session.step(t)));
    return all;
}

}  // namespace

TEST_CASE("every split of a prompt gives the logits of one token at a time") {
    auto const lm = model::random(1);
    auto const tokens = random_tokens(700);
    auto const expected = stepwise(lm, tokens);
    std::mt19937 random(2);
    double worst = 0;
    for (int round = 0; round < 30; ++round) {
        gf::session session{lm};
        int const longest = round % 3 == 0 ? 5 : round % 3 == 1 ? 40 : 600;
        for (std::size_t t = 0; t < tokens.size();) {
            std::size_t const n = std::min<std::size_t>(1 + random() % static_cast<unsigned>(longest), tokens.size() - t);
            session.append(std::span(tokens).subspan(t, n));
            t += n;
            if (random() % 3 == 0) worst = std::max(worst, distance(session.logits(), expected[t - 1]));
        }
        worst = std::max(worst, distance(session.logits(), expected.back()));
    }
    CHECK(worst < 3e-5);
}

TEST_CASE("the window is as short as it can be: with one token less the logits would differ") {
    // Tokens before the window reach the last logits through the key cache alone, those in it also through token shifts.
    static_assert(gf::session<model>::window == 2 * small.n_gold + 1);
}

TEST_CASE("logits are the same again while nothing is appended") {
    auto const lm = model::random(1);
    gf::session session{lm};
    session.append(random_tokens(9));
    auto const first = copy(session.logits());
    session.append({});
    CHECK(copy(session.logits()) == first);
    CHECK(session.position() == 9);
}

TEST_CASE_TEMPLATE("a copy is a fork: the two go their own ways", Model, compact, own_keys) {
    auto const lm = Model::random(3);
    auto const tokens = random_tokens(530);  // more than a page of the cache
    gf::session trunk{lm};
    trunk.append(std::span(tokens).first(515));
    gf::session fork = trunk;
    fork.append(std::span(tokens).subspan(515, 10));
    auto const expected = copy(fork.logits());

    trunk.append(random_tokens(10, 9));
    trunk.logits();
    CHECK(copy(fork.logits()) == expected);
    gf::session straight{lm};
    straight.append(std::span(tokens).first(515));
    straight.append(std::span(tokens).subspan(515, 10));
    CHECK(copy(straight.logits()) == expected);

    trunk = fork;
    CHECK(copy(trunk.step(5)) == copy(fork.step(5)));
}

TEST_CASE("sessions outlive the model object they were made from") {
    auto session = [] {
        auto const lm = model::random(1);
        return gf::session{lm};
    }();
    CHECK(std::isfinite(session.step(1)[0]));
}

TEST_CASE("one and two threads give the same bits") {
    auto one = expanded::random(1, {.threads = 1});
    auto two = expanded::random(1, {.threads = 2});
    auto const tokens = random_tokens(300);
    gf::session a{one}, b{two};
    a.append(tokens);
    b.append(tokens);
    CHECK(copy(a.logits()) == copy(b.logits()));
    for (gf::token t = 0; t < 20; ++t) CHECK(copy(a.step(t)) == copy(b.step(t)));
    CHECK(a.score(tokens) == b.score(tokens));
    two.threads(3);
    CHECK(copy(a.step(1)) == copy(b.step(1)));
}

TEST_CASE("score is the log-probability of each token") {
    auto const lm = model::random(4);
    auto const tokens = random_tokens(600);
    std::vector<double> expected{0};
    auto const logits = stepwise(lm, tokens);
    for (std::size_t t = 1; t < tokens.size(); ++t) {
        double sum = 0;
        for (float const l : logits[t - 1]) sum += std::exp(static_cast<double>(l));
        expected.push_back(static_cast<double>(logits[t - 1][tokens[t]]) - std::log(sum));
    }
    auto const check = [&](std::vector<double> const& scores, std::size_t first) {
        double worst = 0;
        for (std::size_t i = 0; i < scores.size(); ++i) worst = std::max(worst, std::abs(scores[i] - expected[first + i]));
        CHECK(worst < 3e-5);
    };
    gf::session session{lm};
    auto const scores = session.score(tokens);
    REQUIRE(scores.size() == tokens.size());
    CHECK(scores[0] == 0);
    check(scores, 0);
    CHECK(distance(session.logits(), logits.back()) < 3e-5);

    gf::session mixed{lm};  // pending tokens before, between and after
    mixed.append(std::span(tokens).first(100));
    check(mixed.score(std::span(tokens).subspan(100, 200)), 100);
    mixed.append(std::span(tokens).subspan(300, 100));
    check(mixed.score(std::span(tokens).subspan(400, 1)), 400);
    check(mixed.score(std::span(tokens).subspan(401)), 401);
    CHECK(distance(mixed.logits(), logits.back()) < 3e-5);
    CHECK(mixed.score({}).empty());
}

TEST_CASE("what cannot be done changes nothing") {
    auto const lm = model::random(1);
    gf::session session{lm};
    CHECK_THROWS_AS(session.logits(), gf::session_error);
    CHECK_THROWS_AS(session.step(small.vocab_size), gf::token_error);
    CHECK(session.position() == 0);
    session.append(random_tokens(5));
    gf::session const before = session;
    auto bad = random_tokens(400);
    bad[399] = 300;
    CHECK_THROWS_AS(session.append(bad), gf::token_error);
    CHECK_THROWS_AS(session.score(bad), gf::token_error);
    CHECK(build::message_of<gf::token_error>([&] { session.append(bad); }).find("token 300 at index 399 is outside the vocabulary of 300") !=
          std::string::npos);
    CHECK(session.position() == 5);
    gf::session copy_of_before = before;
    CHECK(copy(session.logits()) == copy(copy_of_before.logits()));
}

TEST_CASE("the compressed cache holds two bytes of id and n_embd / 16 values a token, and the state does not grow") {
    gf::session session{gf::model<small, gf::simd<float>, gf::compressed_keys<gf::bf16>>::random(1)};
    auto const tokens = random_tokens(32768);
    auto const state = session.state_bytes();
    session.append(tokens);
    CHECK(session.position() == 32768);
    double const per_token = static_cast<double>(session.cache_bytes()) / 32768;
    CHECK(per_token <= (2.0 * small.n_embd / 16 + 4) * 1.05);
    CHECK(per_token >= 2.0 * small.n_embd / 16 + 2);
    CHECK(session.state_bytes() == state);
}

TEST_CASE("keys and values of blocks are counted with the cache, in its value type") {
    auto const bytes = [](auto const& lm, std::size_t n) {
        gf::session session{lm};
        session.append(random_tokens(n));
        return static_cast<double>(session.cache_bytes());
    };
    constexpr double scaled = 2 * (small.n_embd + sizeof(float)), rounded = 2 * 2 * small.n_embd;  // of a block: keys and values
    CHECK(bytes(own_keys::random(1), 6400) / 6400 == doctest::Approx(2 * scaled).epsilon(0.02));
    using llama = gf::model<small, gf::simd<float>, gf::compressed_keys<gf::bf16>, gf::llama_stack<small>>;
    CHECK(bytes(llama::random(1), 6400) / 6400 == doctest::Approx(5 * rounded).epsilon(0.02));
    CHECK(bytes(no_keys::random(1), 100) == 0);
}

TEST_CASE("a saved session without a cache may have seen more tokens than it has bytes") {
    build::temporary_directory const dir;
    auto const lm = no_keys::random(5);
    gf::session session{lm};
    session.append(random_tokens(200'000));
    session.save(dir.path("s"));
    REQUIRE(build::file_text(dir.path("s")).size() < 200'000);
    gf::session restored{lm, dir.path("s")};
    CHECK(copy(restored.step(1)) == copy(session.step(1)));
}

TEST_CASE_TEMPLATE("a saved session goes on as it was, bit for bit", Model, model, compact, expanded, own_keys, no_keys) {
    build::temporary_directory const dir;
    auto const lm = Model::random(5);
    auto const tokens = random_tokens(600);
    for (std::size_t const n : {std::size_t{0}, std::size_t{1}, std::size_t{3}, std::size_t{64}, std::size_t{600}}) {
        for (bool const asked : {false, true}) {
            gf::session session{lm};
            session.append(std::span(tokens).first(n));
            if (asked && n > 0) session.logits();
            session.save(dir.path("s"));
            gf::session restored{lm, dir.path("s")};
            CHECK(restored.position() == session.position());
            CHECK((restored.cache_bytes() > 0) == (session.cache_bytes() > 0));
            if (n > 0) CHECK(copy(restored.logits()) == copy(session.logits()));
            CHECK(copy(restored.step(7)) == copy(session.step(7)));
            session.append(std::span(tokens).first(100));
            restored.append(std::span(tokens).first(100));
            CHECK(copy(restored.logits()) == copy(session.logits()));
        }
    }
}

TEST_CASE("a session file of another model, cache or backend is refused") {
    build::temporary_directory const dir;
    gf::session session{model::random(1)};
    session.append(random_tokens(20));
    session.save(dir.path("s"));
    auto const refused = [&](auto const& lm) { return build::message_of<gf::session_error>([&] { gf::session other{lm, dir.path("s")}; }); };
    CHECK(refused(model::random(1)) == "");
    auto const weights = "other weights", shape = "config or stack", types = "backend or cache type";
    CHECK(refused(model::random(2)).find(weights) != std::string::npos);
    CHECK(refused(gf::model<gf::checked({.vocab_size = 64, .n_layer = 3, .n_embd = 32, .head_size = 16}), gf::simd<float>>::random(1)).find(shape) !=
          std::string::npos);
    CHECK(refused(compact::random(1)).find(types) != std::string::npos);
    CHECK(refused(gf::model<small, gf::simd<float>, gf::full_keys<float>>::random(1)).find(types) != std::string::npos);
    CHECK(refused(gf::model<small, gf::simd<float>, gf::compressed_keys<gf::bf16>>::random(1)).find(types) != std::string::npos);
}

TEST_CASE("a session file that is cut short, extended, changed or no session file is refused by name") {
    build::temporary_directory const dir;
    auto const lm = model::random(1);
    gf::session session{lm};
    session.append(random_tokens(3));
    session.save(dir.path("whole"));
    auto const whole = build::file_text(dir.path("whole"));
    auto const refusal = [&](std::span<char const> bytes) {
        dir.file("bad", {bytes.begin(), bytes.end()});
        return build::message_of<gf::session_error>([&] { gf::session other{lm, dir.path("bad")}; });
    };
    CHECK(refusal(whole) == "");
    for (std::size_t n = 0; n < whole.size(); n += n < 100 ? 1 : 997) CHECK(refusal(std::span(whole).first(n)).find("bad") != std::string::npos);
    for (std::size_t at = 0; at < whole.size(); at += at < 200 ? 1 : 499) {
        auto changed = whole;
        changed[at] = static_cast<char>(changed[at] ^ (1 << at % 8));
        INFO("byte ", at);
        CHECK(refusal(changed) != "");
    }
    auto longer = whole;
    longer.push_back(0);
    CHECK(refusal(longer) != "");
    CHECK(build::message_of<gf::session_error>([&] { gf::session other{lm, dir.path("missing")}; }).find("missing") != std::string::npos);
    CHECK(build::message_of<gf::session_error>([&] { gf::session other{lm, dir.path(".")}; }) != "");
    CHECK(build::message_of<gf::session_error>([&] { session.save(dir.path("no") / "such" / "folder"); }) != "");
}

TEST_CASE("a session file that lies under a right checksum is refused") {
    build::temporary_directory const dir;
    auto const lm = model::random(1);
    gf::session session{lm};
    session.append(random_tokens(3));
    session.save(dir.path("whole"));
    auto const whole = build::file_text(dir.path("whole"));
    gf::detail::session_header header;
    std::memcpy(&header, whole.data(), sizeof header);
    auto const refusal = [&](gf::detail::session_header const& lie, std::function<void(std::string&)> const& change = {}) {
        auto bytes = whole;
        std::memcpy(bytes.data(), &lie, sizeof lie);
        if (change) change(bytes);
        gf::detail::checksum sum;
        sum.add(std::as_bytes(std::span(bytes).first(bytes.size() - 8)));
        std::uint64_t const value = sum.value();
        std::memcpy(bytes.data() + bytes.size() - 8, &value, 8);
        dir.file("lie", {bytes.begin(), bytes.end()});
        return build::message_of<gf::session_error>([&] { gf::session other{lm, dir.path("lie")}; });
    };
    CHECK(refusal(header) == "");
    for (std::uint64_t const n : {std::uint64_t{0}, std::uint64_t{2}, std::uint64_t{4}, std::uint64_t{1} << 40, ~std::uint64_t{0}}) {
        auto lie = header;
        lie.position = n;
        CHECK(refusal(lie) != "");
        lie = header;
        lie.payload = n;
        CHECK(refusal(lie) != "");
        lie = header;
        lie.pending = n;
        if (n <= 3)  // there is room for a window of rows: a file that a session could have written
            CHECK(refusal(lie) == "");
        else
            CHECK(refusal(lie) != "");
    }
    auto lie = header;
    lie.cut = 2;
    CHECK(refusal(lie) != "");
    // Behind the states the payload has the cache's planes: the ids of all tokens, then their compressed keys. Each id outside the vocabulary
    // would be read out of bounds; any value of a key can be used.
    constexpr std::size_t per_key = small.n_embd / 16 * sizeof(float);
    static_assert(gf::session<model>::cache_bytes_per_token == sizeof(std::uint16_t) + per_key);
    std::size_t const keys = whole.size() - sizeof(std::uint64_t) - 3 * per_key, ids = keys - 3 * sizeof(std::uint16_t);
    auto const with_id = [&](std::size_t token, std::uint16_t id) {
        return refusal(header, [&](auto& bytes) { std::memcpy(bytes.data() + ids + token * sizeof id, &id, sizeof id); });
    };
    for (std::size_t token = 0; token < 3; ++token) {
        CHECK(with_id(token, small.vocab_size - 1) == "");
        CHECK(build::contains(with_id(token, small.vocab_size), "vocabulary"));
        CHECK(build::contains(with_id(token, 0xffff), "vocabulary"));
    }
    CHECK(refusal(header, [&](auto& bytes) { std::fill_n(bytes.data() + keys, 3 * per_key, char(-1)); }) == "");
    auto const tokens = random_tokens(3);
    for (std::size_t token = 0; token < 3; ++token) {
        std::uint16_t id;
        std::memcpy(&id, whole.data() + ids + token * sizeof id, sizeof id);
        CHECK(id == tokens[token]);
    }
}

TEST_CASE("an id outside the vocabulary is found on every page of a session file") {
    build::temporary_directory const dir;
    auto const lm = compact::random(1);
    gf::session session{lm};
    session.append(random_tokens(200));
    session.save(dir.path("whole"));
    auto const whole = build::file_text(dir.path("whole"));
    std::size_t const ids = whole.size() - sizeof(std::uint64_t) - 200 * gf::session<compact>::cache_bytes_per_token;
    std::size_t const some[] = {0, 63, 64, 127, 191, 192, 199};
    for (std::size_t const token : some) {
        auto bytes = whole;
        std::uint16_t const id = small.vocab_size;
        std::memcpy(bytes.data() + ids + token * sizeof id, &id, sizeof id);
        gf::detail::checksum sum;
        sum.add(std::as_bytes(std::span(bytes).first(bytes.size() - 8)));
        std::uint64_t const value = sum.value();
        std::memcpy(bytes.data() + bytes.size() - 8, &value, 8);
        dir.file("lie", {bytes.begin(), bytes.end()});
        INFO("token ", token);
        CHECK(build::contains(build::message_of<gf::session_error>([&] { gf::session other{lm, dir.path("lie")}; }), "vocabulary"));
    }
}

TEST_CASE("a session that was moved from says so, and can be assigned to") {
    auto const lm = gf::model<small>::random(1);
    gf::session session{lm};
    session.append(random_tokens(600));
    gf::session moved = std::move(session);
    CHECK(moved.position() == 600);
    gf::session const twin = session;
    CHECK_THROWS_AS(session.append(random_tokens(1)), gf::session_error);
    CHECK_THROWS_AS(session.append({}), gf::session_error);
    CHECK_THROWS_AS((void)session.logits(), gf::session_error);
    CHECK_THROWS_AS((void)session.step(1), gf::session_error);
    CHECK_THROWS_AS((void)session.score(random_tokens(2)), gf::session_error);
    CHECK_THROWS_AS(session.save("never.session"), gf::session_error);
    CHECK_THROWS_AS(twin.save("never.session"), gf::session_error);
    for (auto const* const empty : {&std::as_const(session), &twin}) {
        CHECK_THROWS_AS((void)empty->position(), gf::session_error);
        CHECK_THROWS_AS((void)empty->cache_bytes(), gf::session_error);
        CHECK_THROWS_AS((void)empty->state_bytes(), gf::session_error);
    }
    session = moved;
    CHECK(session.position() == 600);
    CHECK(session.cache_bytes() == moved.cache_bytes());
    CHECK(session.state_bytes() == moved.state_bytes());
    auto const again = session.logits();
    CHECK(copy(again) == copy(moved.logits()));

    gf::session<gf::model<small>>& same = moved;
    moved = std::move(same);
    gf::session const rest = moved;  // of one that was moved from, if only by itself
    CHECK_THROWS_AS((void)rest.position(), gf::session_error);
    moved = session;
    CHECK(moved.position() == 600);
}
