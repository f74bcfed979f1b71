// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <initializer_list>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <goldfinch/error.hpp>
#include <goldfinch/text/sampler.hpp>

namespace gf = goldfinch;

namespace {

using tokens = std::vector<gf::token>;

/// Logits whose softmax is `probabilities`.
std::vector<float> logits_of(std::initializer_list<double> probabilities) {
    std::vector<float> logits;
    for (double const p : probabilities) logits.push_back(static_cast<float>(std::log(p) + 3));  // softmax ignores the 3
    return logits;
}

/// How often each token is drawn, over 100,000 draws without penalties.
std::vector<double> frequencies(gf::sampler sampler, std::vector<float> const& logits) {
    constexpr int n = 100'000;
    std::vector<double> seen(logits.size());
    for (int i = 0; i < n; ++i) seen[sampler.draw(logits)] += 1.0 / n;
    return seen;
}

/// Five standard deviations of such a frequency are 0.008 at most; a probability of 0 must be met exactly.
void check_near(std::vector<double> const& seen, std::vector<double> const& expected) {
    REQUIRE(seen.size() == expected.size());
    for (std::size_t i = 0; i < seen.size(); ++i) {
        CAPTURE(i);
        if (expected[i] == 0) {
            CHECK(seen[i] == 0);
        } else {
            CHECK(std::abs(seen[i] - expected[i]) < 0.008);
        }
    }
}

/// No cut, no penalty.
gf::sampling_options plain() { return {.top_p = 1, .presence_penalty = 0, .frequency_penalty = 0}; }

std::string config_message(gf::sampling_options const& options) {
    try {
        gf::sampler const made(options);
    } catch (gf::config_error const& e) {
        return e.what();
    }
    return "no error";
}

std::string draw_message(gf::sampler sampler, std::vector<float> const& logits) {
    try {
        (void)sampler(logits);
    } catch (gf::token_error const& e) {
        return e.what();
    }
    return "no error";
}

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

}  // namespace

TEST_CASE("softmax: what is not finite is not lost in a sum") {
    auto const sum = [](std::vector<float> const& x) { return gf::detail::sum_of_exp(std::span(x), 0, 1, [](auto...) {}); };
    CHECK(sum({0, -infinity, -1e30f}) == 1);
    for (std::size_t const size : {1u, 16u, 20u}) {
        std::vector<float> x(size);
        CHECK(gf::detail::all_finite(x));
        for (float const odd : {not_a_number, -not_a_number, infinity, -infinity}) {
            x.back() = odd;
            CHECK(!gf::detail::all_finite(x));
            if (std::isnan(odd)) CHECK(std::isnan(sum(x)));
        }
    }
    CHECK(gf::detail::all_finite(std::vector<float>{std::numeric_limits<float>::max(), std::numeric_limits<float>::lowest(), 0, 1e-45f}));
}

TEST_CASE("sampler: the official defaults") {
    gf::sampling_options const o;
    CHECK(o.temperature == 1.0f);
    CHECK(o.top_p == 0.85f);
    CHECK(o.top_k == 0);
    CHECK(o.presence_penalty == 0.2f);
    CHECK(o.frequency_penalty == 0.2f);
    CHECK(o.penalty_decay == 0.996f);
    CHECK(o.banned_tokens.empty());
    CHECK(gf::sampler({.top_k = 3}).options().top_k == 3);
    CHECK(gf::sampler().options().top_p == 0.85f);
    CHECK(gf::sampler({}).options().top_p == 0.85f);
}

TEST_CASE("sampler: softmax without cuts") {
    check_near(frequencies(gf::sampler(plain()), logits_of({0.1, 0.2, 0.4, 0.3})), {0.1, 0.2, 0.4, 0.3});
    check_near(frequencies(gf::sampler(plain()), {0, 0, 0, 0}), {0.25, 0.25, 0.25, 0.25});
    check_near(frequencies(gf::sampler(plain()), {1e30f, -1e30f, 1e30f}), {0.5, 0, 0.5});
    check_near(frequencies(gf::sampler(plain()), {-7}), {1});
}

TEST_CASE("sampler: top_p cuts where the sorted sum first reaches it") {
    auto const with = [](float top_p) {
        auto options = plain();
        options.top_p = top_p;
        return gf::sampler(options);
    };
    auto const logits = logits_of({0.1, 0.4, 0.2, 0.3});
    check_near(frequencies(with(0.35f), logits), {0, 1, 0, 0});
    check_near(frequencies(with(0.6f), logits), {0, 4 / 7.0, 0, 3 / 7.0});  // 0.4 + 0.3 is the first sum to reach it
    check_near(frequencies(with(0.75f), logits), {0, 4 / 9.0, 2 / 9.0, 3 / 9.0});
    check_near(frequencies(with(0.95f), logits), {0.1, 0.4, 0.2, 0.3});
    check_near(frequencies(with(1), logits), {0.1, 0.4, 0.2, 0.3});
    check_near(frequencies(with(0), logits), {0, 1, 0, 0});
    // Sums that equal top_p in decimals reach it.
    check_near(frequencies(with(0.85f), logits_of({0.5, 0.35, 0.15})), {0.5 / 0.85, 0.35 / 0.85, 0});
    // All tokens as probable as the one at the cut stay, also when the sum is reached before them.
    check_near(frequencies(with(0.5f), logits_of({0.2, 0.4, 0.2, 0.2})), {0.2, 0.4, 0.2, 0.2});
    check_near(frequencies(with(0.1f), {2, 2, 1, 2}), {1 / 3.0, 1 / 3.0, 0, 1 / 3.0});
    check_near(frequencies(with(0), {5, 5}), {0.5, 0.5});
}

TEST_CASE("sampler: top_k keeps exactly k, the lower ids among equals, after top_p") {
    auto const with = [](int top_k, float top_p = 1) {
        auto options = plain();
        options.top_k = top_k;
        options.top_p = top_p;
        return gf::sampler(options);
    };
    auto const logits = logits_of({0.1, 0.4, 0.2, 0.3});
    check_near(frequencies(with(1), logits), {0, 1, 0, 0});
    check_near(frequencies(with(2), logits), {0, 4 / 7.0, 0, 3 / 7.0});
    check_near(frequencies(with(4), logits), {0.1, 0.4, 0.2, 0.3});
    check_near(frequencies(with(1000), logits), {0.1, 0.4, 0.2, 0.3});
    check_near(frequencies(with(3), {0, 1, 1, 1, 1}), {0, 1 / 3.0, 1 / 3.0, 1 / 3.0, 0});
    check_near(frequencies(with(2), {0, 1, 0, 0}), {1 / (1 + std::exp(1.0)), std::exp(1.0) / (1 + std::exp(1.0)), 0, 0});
    // The sum for top_p counts all tokens, not the k kept ones.
    check_near(frequencies(with(3, 0.6f), logits), {0, 4 / 7.0, 0, 3 / 7.0});
    check_near(frequencies(with(1, 0.6f), logits), {0, 1, 0, 0});
}

TEST_CASE("sampler: temperature is applied after the cuts") {
    auto options = plain();
    options.temperature = 0.5f;  // squares the probabilities
    check_near(frequencies(gf::sampler(options), logits_of({0.1, 0.4, 0.2, 0.3})), {1 / 30.0, 16 / 30.0, 4 / 30.0, 9 / 30.0});
    options.top_p = 0.75f;  // 0.4 + 0.3 + 0.2 reach it; the squares of 0.4 and 0.3 alone would
    check_near(frequencies(gf::sampler(options), logits_of({0.1, 0.4, 0.2, 0.3})), {0, 16 / 29.0, 4 / 29.0, 9 / 29.0});
    options.top_p = 1;
    options.temperature = 2;  // square roots
    check_near(frequencies(gf::sampler(options), logits_of({0.64, 0.36})), {0.8 / 1.4, 0.6 / 1.4});
    options.temperature = 1e-30f;
    check_near(frequencies(gf::sampler(options), logits_of({0.3, 0.4, 0.3})), {0, 1, 0});
    options.temperature = 1e30f;
    check_near(frequencies(gf::sampler(options), logits_of({0.9, 0.1})), {0.5, 0.5});
}

TEST_CASE("sampler: temperature 0 takes the largest, the first of equals") {
    gf::sampler greedy({.temperature = 0, .presence_penalty = 0, .frequency_penalty = 0});
    CHECK(greedy(std::vector<float>{1, 3, 2, 3}) == 1);
    CHECK(greedy(std::vector<float>{-3, -3}) == 0);
    gf::sampler banning({.temperature = 0, .presence_penalty = 0, .frequency_penalty = 0, .banned_tokens = {1, 3, 1}});
    CHECK(banning(std::vector<float>{1, 3, 2, 3}) == 2);
}

TEST_CASE("sampler: penalties") {
    gf::sampler greedy({.temperature = 0, .presence_penalty = 1, .frequency_penalty = 0.5f, .penalty_decay = 0.5f});
    std::vector<float> const logits{10, 9, 7.8f};
    // After a draw: counts halve, the drawn one's rises by 1. Penalty: 1 + 0.5 * count.
    CHECK(greedy(logits) == 0);                        // count 1: 10 - 1.5 = 8.5 now
    CHECK(greedy(logits) == 1);                        // counts 0.5, 1: 8.75, 7.5
    CHECK(greedy(logits) == 0);                        // 0.25 + 1 = 1.25, 0.5: 8.375, 7.75
    CHECK(greedy(logits) == 0);                        // 1.625, 0.25: 8.1875, 7.875
    CHECK(greedy(logits) == 0);                        // 1.8125, 0.125: 8.09375, 7.9375
    CHECK(greedy(std::vector<float>{10, 9, 8}) == 0);  // 1.90625, 0.0625: 8.046875, 7.96875
    CHECK(greedy(std::vector<float>{10, 9, 8}) == 0);  // 1.953125: 8.0234375
    CHECK(greedy(std::vector<float>{10, 9, 8.05f}) == 2);

    gf::sampler again = greedy;
    again.reset();
    CHECK(again(logits) == 0);
    CHECK(again(logits) == 1);

    // Counted 0: the presence penalty only, however often.
    gf::sampler spaces({.temperature = 0, .presence_penalty = 1, .frequency_penalty = 5, .penalty_decay = 1});
    for (int i = 0; i < 4; ++i) {
        CHECK(spaces.draw(std::vector<float>{10, 8.9f}) == 0);
        spaces.record(0, false);
    }
    CHECK(spaces.draw(std::vector<float>{10, 9.1f}) == 1);
    spaces.record(0);
    CHECK(spaces.draw(std::vector<float>{10, 4.1f}) == 1);
    CHECK(spaces.draw(std::vector<float>{10, 3.9f}) == 0);

    // In probabilities: token 0 drawn once at penalty ln 4 turns {0.8, 0.2} to {0.5, 0.5}.
    auto options = plain();
    options.presence_penalty = static_cast<float>(std::log(4.0));
    gf::sampler halves(options);
    halves.record(0);
    check_near(frequencies(halves, logits_of({0.8, 0.2})), {0.5, 0.5});
}

TEST_CASE("sampler: banned tokens are never drawn, and not in the sum for top_p") {
    auto options = plain();
    options.banned_tokens = {0, 3};
    check_near(frequencies(gf::sampler(options), logits_of({0.4, 0.2, 0.1, 0.2, 0.1})), {0, 0.5, 0.25, 0, 0.25});
    options.top_p = 0.45f;
    check_near(frequencies(gf::sampler(options), logits_of({0.4, 0.2, 0.1, 0.2, 0.1})), {0, 1, 0, 0, 0});
}

TEST_CASE("sampler: seeds, copies and platforms") {
    std::vector<float> const logits(100, 0.5f);
    auto const draw = [&](gf::sampler& s) {
        tokens out;
        for (int i = 0; i < 20; ++i) out.push_back(s.draw(logits));
        return out;
    };
    auto options = plain();
    options.seed = 42;
    gf::sampler a(options), b(options);
    tokens const first = draw(a);
    CHECK(first == draw(b));
    gf::sampler fork = a;
    CHECK(draw(fork) == draw(a));
    options.seed = 43;
    gf::sampler other(options);
    CHECK(first != draw(other));
    a.reset();
    CHECK(first == draw(a));
    // The same on every machine: floor(100 * u) for u of SplitMix64's numbers from the seed's hash on.
    for (std::size_t i = 0; i < first.size(); ++i)
        CHECK(first[i] == static_cast<gf::token>(gf::detail::unit_interval(gf::detail::scramble(gf::detail::scramble(42) + i)) * 100));
    CHECK(tokens(first.begin(), first.begin() + 6) == tokens{34, 97, 44, 41, 57, 81});
}

TEST_CASE("sampler: options out of range") {
    CHECK(config_message({.temperature = -0.1f}) == "goldfinch: temperature must be finite and at least 0, found -0.100000");
    CHECK(config_message({.temperature = not_a_number}).starts_with("goldfinch: temperature must be finite and at least 0"));
    CHECK(config_message({.temperature = infinity}).starts_with("goldfinch: temperature must be finite and at least 0"));
    for (float const top_p : {-0.1f, 1.1f, not_a_number, infinity}) {
        CHECK(config_message({.top_p = top_p}).starts_with("goldfinch: top_p must be between 0 and 1"));
    }
    CHECK(config_message({.top_k = -1}).starts_with("goldfinch: top_k must be at least 0"));
    CHECK(config_message({.presence_penalty = not_a_number}).starts_with("goldfinch: presence_penalty must be finite"));
    CHECK(config_message({.frequency_penalty = -infinity}).starts_with("goldfinch: frequency_penalty must be finite"));
    for (float const decay : {-0.1f, 1.1f, not_a_number}) {
        CHECK(config_message({.penalty_decay = decay}).starts_with("goldfinch: penalty_decay must be between 0 and 1"));
    }
    CHECK(config_message({}) == "no error");
}

TEST_CASE("sampler: logits no token can be drawn from") {
    gf::sampler const s;
    CHECK(draw_message(s, {}) == "goldfinch: there are no logits to draw a token from");
    CHECK(draw_message(s, {0, 1, not_a_number}) == "goldfinch: the logit of token 2 is not finite");
    CHECK(draw_message(s, {0, infinity, 1}) == "goldfinch: the logit of token 1 is not finite");
    CHECK(draw_message(s, {-infinity, 0, 1}) == "goldfinch: the logit of token 0 is not finite");
    CHECK(draw_message(gf::sampler({.banned_tokens = {0, 1}}), {1, 2}) == "goldfinch: every token is banned");
    CHECK(draw_message(gf::sampler({.temperature = 0, .banned_tokens = {0, 1}}), {1, 2}) == "goldfinch: every token is banned");
    CHECK(draw_message(gf::sampler({.banned_tokens = {2}}), {1, 2}) == "goldfinch: banned token 2 is out of range, there are 2 logits");
    gf::sampler used;
    used.record(5);
    CHECK(draw_message(used, {1, 2}) == "goldfinch: recorded token 5 is out of range, there are 2 logits");

    // A refused draw changes nothing.
    std::vector<float> const logits(100, 0.0f);
    gf::sampler a(plain()), b(plain());
    CHECK_THROWS_AS((void)a(std::vector<float>{not_a_number}), gf::token_error);
    for (int i = 0; i < 10; ++i) CHECK(a(logits) == b(logits));
}

TEST_CASE("sampler: the cuts agree with sorting, on many random logits") {
    std::mt19937_64 random(7);
    for (int round = 0; round < 300; ++round) {
        std::size_t const n = 1 + random() % 120;
        std::vector<float> logits(n);
        for (float& x : logits) x = static_cast<float>(random() % 2001) / (round % 2 ? 100.0f : 500.0f);  // ties are frequent
        float const top_p = static_cast<float>(random() % 1000) / 1000.0f;
        int const top_k = static_cast<int>(random() % (n + 2));

        // The official way: sort, sum, cut.
        double total = 0, sum = 0;
        std::vector<std::pair<double, gf::token>> sorted;
        for (std::size_t i = 0; i < n; ++i) sorted.push_back({-std::exp(static_cast<double>(logits[i])), static_cast<gf::token>(i)});
        std::sort(sorted.begin(), sorted.end());
        for (auto const& [p, id] : sorted) total -= p;
        std::size_t cut = 0;
        while (static_cast<float>((sum -= sorted[cut].first) / total) < top_p) ++cut;
        std::vector<bool> kept(n);
        for (std::size_t i = 0; i < n; ++i) {
            bool const in_k = top_k == 0 || i < static_cast<std::size_t>(top_k);
            kept[sorted[i].second] = in_k && sorted[i].first <= sorted[cut].first;
        }

        // At a huge temperature all that is kept is drawn alike.
        gf::sampler s({.temperature = 1e30f, .top_p = top_p, .top_k = top_k, .presence_penalty = 0, .frequency_penalty = 0});
        std::vector<bool> seen(n);
        for (int i = 0; i < 2000; ++i) seen[s.draw(logits)] = true;
        CAPTURE(round);
        CHECK(seen == kept);
    }
}

TEST_CASE("sampler: 65,536 logits") {
    std::mt19937_64 random(3);
    std::vector<float> logits(65536);
    for (float const width : {1.0f, 10.0f}) {
        for (float& x : logits) x = static_cast<float>(random() >> 40) * 0x1p-24f * width;
        gf::sampler s({.top_p = 0.7f, .top_k = 100});
        (void)s(logits);
        auto const begin = std::chrono::steady_clock::now();
        for (int i = 0; i < 20; ++i) (void)s(logits);
        std::chrono::duration<double, std::micro> const taken = std::chrono::steady_clock::now() - begin;
        MESSAGE("logits over " << width << ": " << taken.count() / 20 << " us a draw");
    }
}
