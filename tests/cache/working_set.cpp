// SPDX-License-Identifier: Apache-2.0
#include <goldfinch/goldfinch.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <vector>

#include "../io/builders.hpp"

namespace gf = goldfinch;

namespace {

inline constexpr gf::config little = gf::checked({.vocab_size = 64, .n_layer = 6, .n_embd = 64, .head_size = 16});
static_assert(gf::model<little>::cfg.n_gold == 2);

template <class Cache, class Backend = gf::simd<gf::bf16>>
using model = gf::model<little, Backend, Cache>;

constexpr std::size_t page = 64;

std::vector<gf::token> text(std::size_t n, unsigned seed = 0) {
    std::vector<gf::token> result(n);
    for (std::size_t i = 0; i < n; ++i) result[i] = static_cast<gf::token>((i * 37 + i * i + seed * 11) % little.vocab_size);
    return result;
}

template <class Session>
std::vector<float> step(Session& s, gf::token t) {
    auto const logits = s.step(t);
    return {logits.begin(), logits.end()};
}

/// Bytes of a page in the working set.
template <class Model>
constexpr std::size_t bytes_of_page = page * Model::working_set_bytes_per_token;

}  // namespace

TEST_CASE_TEMPLATE("logits do not depend on the budget of the working set, to the last bit", Model, model<gf::compressed_keys<gf::bf16>>,
                   model<gf::compressed_keys<gf::int8>>, model<gf::compressed_keys<float>, gf::simd<float>>, model<gf::full_keys<gf::bf16>>,
                   model<gf::full_keys<float>, gf::simd<float>>, model<gf::compressed_keys<gf::bf16>, gf::reference>) {
    std::size_t const budgets[] = {0, bytes_of_page<Model> - 1, bytes_of_page<Model>, 3 * bytes_of_page<Model> + 5, 6 * bytes_of_page<Model>, std::size_t(-1)};
    std::vector<std::vector<float>> expected;
    for (std::size_t const budget : budgets) {
        INFO("budget ", budget);
        auto lm = Model::random(1, {.threads = 2, .working_set = budget});
        gf::session s{lm};
        std::vector<std::vector<float>> logits;
        s.append(text(5 * page - 4));
        for (gf::token t = 0; t < 8; ++t) logits.push_back(step(s, t));
        {
            gf::session fork = s;
            logits.push_back(step(fork, 20));
            logits.push_back(step(s, 21));
        }
        s.append(text(2 * page + 3, 1));
        logits.push_back(step(s, 22));
        for (gf::token const t : text(page, 2)) logits.push_back(step(s, t));
        if (expected.empty()) expected = logits;
        CHECK(logits == expected);

        std::size_t const pages = (s.position() + page - 1) / page;
        CHECK(lm.working_set_bytes() <= budget);
        std::size_t const most = std::min(budget / bytes_of_page<Model>, pages) * bytes_of_page<Model>;
        if (budget / bytes_of_page<Model> <= 1 || budget / bytes_of_page<Model> >= pages)
            CHECK(lm.working_set_bytes() == most);
        else
            CHECK(lm.working_set_bytes() > most - bytes_of_page<Model>);  // a table of tokens may take the room of a page
    }
}

TEST_CASE("a cache that keeps keys and values has no working set") {
    using expanded = model<gf::expanded_kv<gf::int8>>;
    static_assert(expanded::working_set_bytes_per_token == 0);
    auto const lm = expanded::random(1);
    gf::session s{lm};
    s.append(text(3 * page));
    (void)s.logits();
    CHECK(lm.working_set_bytes() == 0);
}

TEST_CASE_TEMPLATE("steps of several sessions leave in the working set what steps of one do", Model, model<gf::compressed_keys<gf::bf16>>,
                   model<gf::compressed_keys<float>>, model<gf::compressed_keys<float>, gf::simd<gf::int8>>) {
    std::vector<std::vector<float>> expected;
    for (std::size_t const budget : {std::size_t{0}, std::size_t(-1)}) {
        auto lm = Model::random(1, {.threads = 2, .working_set = budget});
        std::vector<gf::session<Model>> sessions(8, gf::session<Model>(lm));
        for (unsigned i = 0; i < 8; ++i) sessions[i].append(text(page - 8 + i, i));
        for (unsigned i = 0; i < 8; ++i) gf::step(sessions, text(8, i));  // their rows are rebuilt in passes of 8, or at each step
        std::vector<std::vector<float>> logits;
        for (auto& s : sessions) logits.push_back(step(s, 1));
        if (expected.empty()) expected = logits;
        CHECK(logits == expected);
    }
}

TEST_CASE("the default holds the first 4096 tokens") {
    using Model = model<gf::compressed_keys<>>;
    static_assert(Model::working_set_bytes_per_token == 2 * 2 * 64 * sizeof(gf::bf16));
    auto const lm = Model::random(1);
    gf::session s{lm};
    s.append(text(4096));
    (void)s.logits();
    CHECK(lm.working_set_bytes() == 4096 * Model::working_set_bytes_per_token);
}

TEST_CASE("the session that was unused for longest goes first, and what forks share stays") {
    using Model = model<gf::compressed_keys<>>;
    constexpr std::size_t one = bytes_of_page<Model>;
    auto lm = Model::random(1, {.threads = 1, .working_set = 4 * one});
    auto const filled = [&](unsigned seed) {
        auto s = std::make_unique<gf::session<Model>>(lm);
        s->append(text(2 * page, seed));
        (void)s->logits();
        return s;
    };
    auto const first = filled(1), second = filled(2);
    CHECK(lm.working_set_bytes() == 4 * one);
    auto fork = std::make_unique<gf::session<Model>>(*first);
    (void)step(*fork, 1);              // uses first's two pages, and one of its own: one of second's goes
    auto third = filled(3);            // the other goes, and one that first and its fork share
    CHECK(lm.working_set_bytes() == 4 * one);
    third.reset();                     // a session that ends leaves nothing behind
    CHECK(lm.working_set_bytes() == 2 * one);
    (void)step(*fork, 2);              // makes the shared page again
    CHECK(lm.working_set_bytes() == 3 * one);
    fork.reset();
    CHECK(lm.working_set_bytes() == 2 * one);  // those of first
    (void)step(*second, 3);            // makes two again and one more, and pushes out one of first's
    CHECK(lm.working_set_bytes() == 4 * one);

    lm.working_set(3 * one);  // the first page of the session unused for longest goes
    CHECK(lm.working_set_bytes() == 3 * one);
    auto copy = lm;
    copy.working_set(0);
    CHECK(lm.working_set_bytes() == 0);
    (void)step(*second, 4);
    CHECK(lm.working_set_bytes() == 0);
}

TEST_CASE("a pass never pushes out what it uses itself") {
    using set = gf::detail::working_set<gf::simd<gf::bf16>>;
    auto const kept = std::make_shared<set>();
    kept->budget(300);
    std::vector<set::place> places(4);
    auto pass = kept->begin_pass();
    for (std::size_t i = 0; i < 3; ++i) set::keep(kept, places[i], kept->take(100, pass), page, pass);
    CHECK(kept->take(1, pass) == nullptr);

    pass = kept->begin_pass();
    auto const found = [&](std::size_t i) { return kept->find(places[i], page, pass).kept; };
    CHECK(found(0) != nullptr);
    CHECK(found(3) == nullptr);
    auto const filled = kept->take(100, pass);  // in the place of places[1]
    REQUIRE(filled != nullptr);
    set::keep(kept, places[3], filled, page, pass);
    CHECK(found(1) == nullptr);
    CHECK(found(3) == filled);
    CHECK(found(2) != nullptr);
    CHECK(kept->take(100, pass) == nullptr);
    CHECK(kept->bytes() == 300);
    CHECK(kept->take(301, kept->begin_pass()) == nullptr);  // what can never fit pushes out nothing
    CHECK(kept->bytes() == 300);

    auto const given_back = kept->take(100, kept->begin_pass());
    kept->give_back(given_back->size());
    CHECK(kept->bytes() == 200);
}

TEST_CASE("where a context does not fit, a table of tokens takes up to an eighth of the budget, and goes when it is unused") {
    using set = gf::detail::working_set<gf::simd<gf::bf16>>;
    constexpr std::size_t vocab_size = 200, width = 2, empty = set::table::empty_bytes(vocab_size), block = set::table::block_bytes(width);
    auto const kept = std::make_shared<set>();
    kept->budget(8 * (empty + block) - 1);
    CHECK(kept->use_table(vocab_size, width, kept->begin_pass()) == nullptr);  // it would take more
    constexpr std::size_t budget = 8 * (empty + 2 * block), pages = 100, bytes = budget / pages;
    kept->budget(budget);
    std::vector<set::place> places(pages + 1);
    auto pass = kept->begin_pass();
    for (std::size_t i = 0; i < pages; ++i) set::keep(kept, places[i], kept->take(bytes, pass), page, pass);
    CHECK(kept->take(bytes, pass) == nullptr);

    // Pages go to make room for it, also such as this pass uses.
    auto const table = kept->use_table(vocab_size, width, pass);
    REQUIRE(table != nullptr);
    auto const room = [&] { return kept->grow(*table, block); };
    for (std::size_t t = 0; t < vocab_size; ++t) {
        float const row[] = {static_cast<float>(t), 1};
        table->add(t, row, room);
        table->add(t, row, room);
    }
    for (std::size_t t = 0; t < vocab_size; ++t) {  // 64 of a block
        REQUIRE((table->find(t) != nullptr) == (t < 128));
        if (t < 128) CHECK(table->find(t)[0] == static_cast<float>(t));
    }
    CHECK(kept->bytes() <= budget);
    CHECK(kept->bytes() > budget - bytes);
    CHECK(kept->find(places[0], page, pass).kept == nullptr);
    CHECK(kept->find(places[pages - 1], page, pass).kept != nullptr);
    CHECK(kept->use_table(vocab_size, width, pass) == table);
    CHECK(kept->take(bytes, pass) == nullptr);

    // Another pass does without a page that is longer unused, and without the table when two passes did.
    pass = kept->begin_pass();
    set::keep(kept, places[pages], kept->take(bytes, pass), page, pass);
    CHECK(kept->use_table(vocab_size, width, pass) == table);
    kept->begin_pass();
    pass = kept->begin_pass();
    for (std::size_t i = 0; i < pages; ++i) kept->find(places[i], page, pass);
    auto const taken = kept->take(bytes, pass);
    REQUIRE(taken != nullptr);
    CHECK(!kept->grow(*table, 1));
    CHECK(table->find(5)[0] == 5);  // as long as somebody holds it
    CHECK(kept->use_table(vocab_size, width, pass) != table);
    kept->give_back(bytes);
    kept->budget(1);
    CHECK(kept->bytes() == 0);
}

TEST_CASE("a page that one pass is filling is found by no other") {
    using set = gf::detail::working_set<gf::simd<gf::bf16>>;
    auto const kept = std::make_shared<set>();
    kept->budget(300);
    set::place place;
    auto const one = kept->begin_pass(), other = kept->begin_pass();
    set::keep(kept, place, kept->take(100, one), 3, one);
    CHECK(kept->find(place, 3, other).rows == 3);
    auto const found = kept->find(place, 5, one);
    CHECK(found.rows == 3);
    CHECK(kept->find(place, 3, other).kept == nullptr);
    auto const again = kept->take(100, other);
    set::keep(kept, place, again, 5, other);  // comes to nothing: there is one
    CHECK(kept->bytes() == 100);
    kept->extend(place, *found.kept, 5);
    CHECK(kept->find(place, 5, other).kept == found.kept);

    auto const dropped = kept->find(place, 6, one);
    kept->budget(0);
    kept->extend(place, *dropped.kept, 6);
    CHECK(kept->find(place, 1, other).kept == nullptr);
    CHECK(kept->bytes() == 0);
}

TEST_CASE("the working set is no part of a session's bytes, its file, or its copies, and outlives no session") {
    using Model = model<gf::compressed_keys<>>;
    build::temporary_directory const dir;
    auto with = std::make_unique<Model>(Model::random(1));
    Model const without = Model::random(1, {.working_set = 0});
    auto s = std::make_unique<gf::session<Model>>(*with);
    gf::session plain{without};
    s->append(text(3 * page + 5));
    plain.append(text(3 * page + 5));
    CHECK(step(*s, 1) == step(plain, 1));
    CHECK(s->cache_bytes() == plain.cache_bytes());
    s->save(dir.path("s"));
    plain.save(dir.path("plain"));
    CHECK(build::file_text(dir.path("s")) == build::file_text(dir.path("plain")));

    gf::session restored{*with, dir.path("s")};
    CHECK(step(restored, 2) == step(plain, 2));
    CHECK(with->working_set_bytes() == 8 * bytes_of_page<Model>);
    *s = gf::session{without};  // the last session with these pages
    CHECK(with->working_set_bytes() == 4 * bytes_of_page<Model>);
    with.reset();
    CHECK(step(restored, 3) == step(plain, 3));
}
