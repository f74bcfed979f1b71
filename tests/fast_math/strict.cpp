// SPDX-License-Identifier: Apache-2.0
// A program may compile some of its files with -ffast-math, and the linker keeps one copy of every function that two files share:
// which, depends on their order. So what the library computes must be right with these flags, too.
#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include "checks.hpp"

namespace {

using fast_math::inputs, fast_math::results;

constexpr float infinity = std::numeric_limits<float>::infinity(), not_a_number = std::numeric_limits<float>::quiet_NaN();

inputs examples() {
    inputs in;
    for (int i = 0; i <= 7080; ++i) in.exponents.push_back(-0.1 * i);
    for (int i = 1; i <= 60; ++i) in.exponents.push_back(-std::ldexp(1.0, -i));
    for (double const x : {-709.0, -1e10, -1e300}) in.exponents.push_back(x);
    for (double const p : {0.4, 0.3, 0.2, 0.1}) in.logits.push_back(static_cast<float>(std::log(p)) - 5);
    for (std::size_t const size : {3u, 40u})
        for (float const x : {infinity, -infinity, not_a_number, -not_a_number}) {
            in.refused.emplace_back(size);
            in.refused.back()[size / 2] = x;
        }
    in.not_finite = {infinity, -infinity, not_a_number};
    in.reals = {0, -0.0f, 1, -1.5f, 1 / 3.0f, 65504, 65519, 65520, 1e-4f, 6.2e-5f, 6e-5f, 3e-8f, 2.9802322e-8f, -1e-6f, 1e30f, infinity, -infinity};
    return in;
}

void check(results const& out, inputs const& in) {
    std::vector<double> wrong;  // what exp is wrong of
    for (std::size_t i = 0; i < in.exponents.size(); ++i) {
        double const expected = in.exponents[i] < -708 ? 0 : std::exp(in.exponents[i]);
        if (!(std::abs(out.exponentials[i] - expected) <= 1e-13 * expected)) wrong.push_back(in.exponents[i]);
    }
    CHECK(wrong == std::vector<double>{});
    CHECK(out.largest == in.logits[0]);
    CHECK(out.sum == doctest::Approx(1 / 0.4));

    auto const near = [&](char const* asked, std::vector<double> const& expected) {
        auto const& seen = out.frequencies.at(asked);
        for (std::size_t i = 0; i < expected.size(); ++i) {
            CAPTURE(asked);
            CAPTURE(i);
            CHECK((expected[i] == 0 ? seen[i] == 0 : std::abs(seen[i] - expected[i]) < 0.018));  // five standard deviations
        }
    };
    near("plain", {0.4, 0.3, 0.2, 0.1});
    double const roots = std::sqrt(0.4) + std::sqrt(0.3) + std::sqrt(0.2) + std::sqrt(0.1);
    near("warm", {std::sqrt(0.4) / roots, std::sqrt(0.3) / roots, std::sqrt(0.2) / roots, std::sqrt(0.1) / roots});
    near("top_p", {4 / 7.0, 3 / 7.0, 0, 0});
    near("top_k", {4 / 7.0, 3 / 7.0, 0, 0});
    near("banned", {0, 3 / 6.0, 2 / 6.0, 1 / 6.0});
    near("cold and banned", {0, 1, 0, 0});
    CHECK(out.greedy == 0);
    CHECK(out.greedy_banned == 1);

    REQUIRE(out.logits.size() == out.exact_logits.size());
    for (std::size_t i = 0; i < out.logits.size(); ++i) CHECK(std::abs(out.logits[i] - out.exact_logits[i]) < 3e-5f);
    std::vector<float> const silu{0, 0, 0, 0, -0.26894142f, 0, 0.73105858f, 100};
    for (std::size_t i = 0; i < silu.size(); ++i) CHECK(std::abs(out.gates[i] - silu[i]) < 1e-6f * (1 + std::abs(silu[i])));

    std::vector<std::string> expected;
    for (auto const& refused : in.refused)
        expected.push_back("goldfinch: the logit of token " + std::to_string(refused.size() / 2) + " is not finite");
    expected.emplace_back("goldfinch: every token is banned");
    for (std::size_t i = 0; i < in.not_finite.size(); ++i)
        for (char const* const sentence :
             {"temperature must be finite and at least 0", "top_p must be between 0 and 1", "presence_penalty must be finite",
              "frequency_penalty must be finite", "penalty_decay must be between 0 and 1"})
            expected.push_back(std::string("goldfinch: ") + sentence);
    REQUIRE(out.messages.size() == expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) CHECK(out.messages[i].substr(0, expected[i].size()) == expected[i]);
}

}  // namespace

TEST_CASE("fast math: exp, draws and refusals in a file compiled with -ffast-math") { check(fast_math::compute_fast(examples()), examples()); }

TEST_CASE("fast math: the same in a file that is linked with one") { check(fast_math::compute(examples()), examples()); }

TEST_CASE("fast math: conversions are the same to the bit") {
    auto const fast = fast_math::compute_fast(examples()), strict = fast_math::compute(examples());
    CHECK(fast.bf16_bits == strict.bf16_bits);
    CHECK(fast.half_bits == strict.half_bits);
    CHECK(fast.bf16_back == strict.bf16_back);
    CHECK(fast.half_back == strict.half_back);
    // Of 0, -0, 1, -1.5, 1/3, 65504, 65519, 65520, 1e-4, 6.2e-5, 6e-5, 3e-8, 2^-25, -1e-6, 1e30, infinity and its negative.
    CHECK(strict.half_bits == std::vector<std::uint16_t>{0, 0x8000, 0x3c00, 0xbe00, 0x3555, 0x7bff, 0x7bff, 0x7c00, 0x068e, 0x0410, 0x03ef, 0x0001, 0,
                                                         0x8011, 0x7c00, 0x7c00, 0xfc00});
    CHECK(strict.bf16_bits[4] == 0x3eab);
}
