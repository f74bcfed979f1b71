// SPDX-License-Identifier: Apache-2.0
#include "batch.hpp"

#include <goldfinch/error.hpp>
#include <goldfinch/text/byte_tokenizer.hpp>

#include <array>
#include <cstddef>
#include <iterator>
#include <list>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "io/builders.hpp"

namespace {

using batches::tokens;
using model = gf::model<golden::tiny, gf::simd<float>>;
using sessions = std::vector<gf::session<model>>;

/// A range of n elements that f makes as it is read: of no kind but an input range.
template <class F>
struct made {
    struct iterator {
        using value_type = std::invoke_result_t<F const&, std::size_t>;
        using difference_type = std::ptrdiff_t;
        made const* of;
        std::size_t i = 0;

        value_type operator*() const { return of->f(i); }
        iterator& operator++() { return ++i, *this; }
        void operator++(int) { ++i; }
        bool operator==(std::default_sentinel_t) const { return i == of->n; }
    };

    std::size_t n;
    F f;

    iterator begin() const { return {this}; }
    std::default_sentinel_t end() const { return {}; }
};
template <class F>
made(std::size_t, F) -> made<F>;

std::vector<float> copy(std::span<float const> logits) { return {logits.begin(), logits.end()}; }

}  // namespace

TEST_CASE("several sessions at once: ragged, of any range, or of pointers") {  // part 1 of contract_next.cpp
    auto const lm = model::random(1);
    sessions many(3, gf::session{lm}), alone = many;
    std::vector<tokens> const prompts{{1, 2, 3}, {4}, {5, 6, 7, 8, 9}};
    gf::append(many, prompts);
    for (std::size_t i = 0; i < 3; ++i) alone[i].append(prompts[i]);
    gf::step(many, tokens{10, 11, 12});
    std::vector<gf::session<model>*> const some{&many[2], &many[0]};
    gf::step(some, tokens{13, 14});
    alone[0].step(10), alone[1].step(11), alone[2].step(12), alone[2].step(13), alone[0].step(14);
    for (std::size_t i = 0; i < 3; ++i) {
        CHECK(many[i].position() == alone[i].position());
        CHECK(golden::distance(many[i].logits(), alone[i].logits()) < 3e-5);
    }
    auto const before = copy(many[1].logits());
    CHECK_THROWS_AS(gf::step(many, tokens{1, 256, 3}), gf::token_error);
    CHECK_THROWS_AS(gf::step(std::vector{&many[1], &many[1]}, tokens{1, 2}), gf::session_error);
    CHECK(copy(many[1].logits()) == before);
    CHECK(many[0].position() == 5);
}

TEST_CASE("several tokens of one session with the logits after each") {  // part 2 of contract_next.cpp
    auto const lm = model::random(1);
    gf::session a{lm}, b{lm};
    tokens const four{1, 2, 3, 4};
    std::span<float const> const all = a.step(four);
    REQUIRE(all.size() == four.size() * 256);
    for (std::size_t i = 0; i < four.size(); ++i) CHECK(golden::distance(all.subspan(i * 256, 256), b.step(four[i])) < 3e-5);
    CHECK(copy(a.logits()) == copy(all.last(256)));
    auto const last = copy(a.logits());
    CHECK(a.step(tokens{}).empty());
    CHECK(copy(a.logits()) == last);
    CHECK(a.position() == 4);
}

TEST_CASE("any range of sessions, of pointers, and of tokens") {
    auto const lm = model::random(1);
    gf::session expected{lm};
    expected.append(tokens{1, 2, 3});
    auto const logits = copy(expected.step(4));

    std::list<gf::session<model>> list(2, gf::session{lm});
    std::vector<std::unique_ptr<gf::session<model>>> owned;
    owned.push_back(std::make_unique<gf::session<model>>(lm));
    std::array<gf::session<model>, 2> array{gf::session{lm}, gf::session{lm}};
    gf::token const raw[] = {1, 2, 3};
    gf::append(list, std::vector<std::span<gf::token const>>(2, raw));
    gf::append(owned, std::array{tokens{1, 2, 3}});
    gf::append(std::span(array), std::list<tokens>(2, {1, 2, 3}));
    gf::step(std::list{&list.back(), &list.front()}, std::array<gf::token, 2>{4, 4});
    gf::step(owned, std::list<gf::token>{4});
    gf::step(array, made{2, [](std::size_t) { return gf::token{4}; }});
    for (auto& s : list) CHECK(golden::distance(s.logits(), logits) < 3e-5);
    for (auto& s : array) CHECK(golden::distance(s.logits(), logits) < 3e-5);
    CHECK(golden::distance(owned[0]->logits(), logits) < 3e-5);

    std::vector<std::string> const words{"abc", "d"};  // prompts that are made as they are read, and then are gone
    sessions spoken(2, gf::session{lm});
    gf::append(spoken, made{2, [&](std::size_t i) { return gf::byte_tokenizer{}.encode(words[i]); }});
    gf::append(spoken, std::vector<std::list<gf::token>>{{}, {98, 99}});
    CHECK(spoken[0].position() == 3);
    CHECK(golden::distance(spoken[0].logits(), gf::session{lm}.step(tokens{97, 98, 99}).last(256)) < 3e-5);
    CHECK(golden::distance(spoken[1].logits(), gf::session{lm}.step(tokens{100, 98, 99}).last(256)) < 3e-5);

    sessions none;
    gf::append(none, std::vector<tokens>{});
    gf::step(none, tokens{});
    gf::append(list, std::vector<tokens>(2));  // nothing for each: logits stay
    for (auto& s : list) CHECK(golden::distance(s.logits(), logits) < 3e-5);
}

TEST_CASE("what a batch cannot do changes nothing in any session") {
    auto const lm = model::random(1), other = model::random(2);
    sessions all(4, gf::session{lm});
    gf::append(all, std::vector<tokens>{{1, 2, 3}, tokens(70, 5), {6}, {7, 8}});
    (void)all[2].logits();  // some have pending tokens, one has none
    sessions untouched = all;
    gf::session stranger{other}, twin{model::random(1)}, gone{lm};
    stranger.append(tokens{1, 2}), twin.append(tokens{1, 2});
    gf::session const moved = std::move(gone);

    auto const fails = [&]<class Error>(Error const*, auto& sessions, auto const& texts) {
        CHECK_THROWS_AS(gf::append(sessions, texts), Error);
        for (std::size_t i = 0; i < 4; ++i) CHECK(all[i].position() == untouched[i].position());
    };
    gf::session_error const* const session_error = nullptr;
    gf::token_error const* const token_error = nullptr;
    std::vector<tokens> const texts{{1}, {2, 3}, {4}, {5}};
    for (std::size_t at = 0; at < 4; ++at) {
        std::vector<gf::session<model>*> which{&all[0], &all[1], &all[2], &all[3]};
        for (gf::session<model>* const wrong : {&stranger, &twin, &gone, &all[(at + 1) % 4], static_cast<gf::session<model>*>(nullptr)}) {
            auto with = which;
            with[at] = wrong;
            fails(session_error, with, texts);
        }
        for (std::size_t const length : {std::size_t{1}, std::size_t{2}, std::size_t{300}}) {
            auto bad = texts;
            bad[at].assign(length, 1);
            bad[at].back() = 256;
            fails(token_error, which, bad);
            bad[at].front() = 0xffffffff;
            fails(token_error, which, bad);
        }
        which.pop_back();
        fails(session_error, which, texts);
        CHECK_THROWS_AS(gf::step(which, tokens{1, 2, 3, 4}), gf::session_error);
        CHECK_THROWS_AS(gf::step(which, tokens{1, 2}), gf::session_error);
        auto bad = tokens{1, 2, 3, 4};
        bad[at] = 256;
        CHECK_THROWS_AS(gf::step(all, bad), gf::token_error);
        CHECK_THROWS_AS((void)all[at].step(bad), gf::token_error);
    }
    fails(session_error, all, std::vector<tokens>(5, {1}));
    CHECK(stranger.position() == 2);
    CHECK(moved.position() == 0);
    for (std::size_t i = 0; i < 4; ++i) {
        CHECK(all[i].position() == untouched[i].position());
        CHECK(copy(all[i].logits()) == copy(untouched[i].logits()));
        CHECK(copy(all[i].step(9)) == copy(untouched[i].step(9)));
    }
}

TEST_CASE("what a batch lacks is called by its name") {
    sessions many(3, gf::session{model::random(1)});
    sessions one(1, many[0]);
    auto const says = [](auto const& f, char const* text) { CHECK(build::contains(build::message_of<gf::error>(f), text)); };
    says([&] { gf::step(many, tokens{1, 2}); }, "goldfinch: 3 sessions need 3 tokens, found 2");
    says([&] { gf::step(one, tokens{1, 2}); }, "goldfinch: 1 session needs 1 token, found 2");
    says([&] { gf::append(many, std::vector<tokens>{{1}}); }, "goldfinch: 3 sessions need 3 prompts, found 1");
    says([&] { gf::append(one, std::vector<tokens>{}); }, "goldfinch: 1 session needs 1 prompt, found 0");
    says([&] { gf::step(many, tokens{1, 256, 3}); }, "goldfinch: token 256 for session 1 is outside the vocabulary of 256");
    CHECK(many[0].position() == 0);
    gf::step(sessions{}, tokens{});
}

TEST_CASE_TEMPLATE("more sequences and more rows than go through at once", Cache, gf::compressed_keys<float>, gf::compressed_keys<gf::bf16>) {
    using cached = gf::model<golden::tiny, gf::simd<float>, Cache>;
    constexpr double bound = batches::bound_with<gf::simd<float>, Cache>;
    constexpr std::size_t n = 300;
    auto const lm = cached::random(1);
    batches::pair_of_runs<cached> all(lm, 1, true);
    all.append({all.text(130)});  // two pages that all share, and one that none do
    for (std::size_t i = 1; i < n; ++i) all.fork(i / 3);
    std::vector<std::size_t> everyone(n);
    std::iota(everyone.begin(), everyone.end(), std::size_t{0});
    all.step(everyone);
    std::vector<tokens> prompts;
    for (std::size_t i = 0; i < n; ++i) prompts.push_back(all.text(i % 7));
    all.append(prompts);
    all.step(everyone);
    INFO(all.worst);
    CHECK(all.worst <= bound);

    batches::pair_of_runs<cached> ragged(lm, 3, true);
    ragged.append({ragged.text(600), ragged.text(1), ragged.text(257)});
    ragged.step({2, 0, 1});
    ragged.append({ragged.text(100), ragged.text(156), ragged.text(1)});
    ragged.step({1, 2});
    ragged.step(0, 300);  // more logits than are computed at once
    INFO(ragged.worst);
    CHECK(ragged.worst <= bound);
}

TEST_CASE("a batch gives what its sequences give alone, from every cache: simd<float>") {
    using batches::check, golden::tiny;
    using backend = gf::simd<float>;
    check<tiny, backend, gf::compressed_keys<float>>("goldfinch_tiny");
    check<tiny, backend, gf::compressed_keys<gf::bf16>>("goldfinch_tiny");
    check<tiny, backend, gf::compressed_keys<gf::int8>>("goldfinch_tiny");
    check<tiny, backend, gf::full_keys<float>>("goldfinch_tiny");
    check<tiny, backend, gf::full_keys<gf::bf16>>("goldfinch_tiny");
    check<tiny, backend, gf::expanded_kv<float>>("goldfinch_tiny");
    check<tiny, backend, gf::expanded_kv<gf::bf16>>("goldfinch_tiny");
    check<tiny, backend, gf::expanded_kv<gf::int8>>("goldfinch_tiny");
}

TEST_CASE("a batch gives what its sequences give alone, from every cache: simd<bf16>") {
    using batches::check, golden::tiny;
    using backend = gf::simd<gf::bf16>;
    check<tiny, backend, gf::compressed_keys<gf::bf16>>("goldfinch_tiny");
    check<tiny, backend, gf::compressed_keys<gf::int8>>("goldfinch_tiny");
    check<tiny, backend, gf::full_keys<gf::bf16>>("goldfinch_tiny");
    check<tiny, backend, gf::expanded_kv<gf::bf16>>("goldfinch_tiny");
    check<tiny, backend, gf::expanded_kv<gf::int8>>("goldfinch_tiny");
}
