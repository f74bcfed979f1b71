// SPDX-License-Identifier: Apache-2.0
#include <goldfinch/backend/cpu/thread_pool.hpp>
#include <goldfinch/goldfinch.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "../io/builders.hpp"

namespace gf = goldfinch;

namespace {

inline constexpr gf::config little = gf::checked({.vocab_size = 64, .n_layer = 3, .n_embd = 32, .head_size = 16});
using model = gf::model<little>;

std::vector<float> continued(gf::session<model> session, gf::token first) {
    std::vector<float> result;
    for (gf::token t = 0; t < 12; ++t) {
        auto const logits = session.step((first + 7 * t) % little.vocab_size);
        result.insert(result.end(), logits.begin(), logits.end());
    }
    return result;
}

}  // namespace

TEST_CASE("sessions of one model run on several threads at once, and give what they give alone") {
    auto const lm = model::random(1, {.threads = 3});
    std::vector<gf::token> prompt(600);
    std::iota(prompt.begin(), prompt.end(), 0u);
    for (auto& t : prompt) t %= little.vocab_size;
    gf::session trunk{lm};
    trunk.append(prompt);

    std::vector<std::vector<float>> alone, together(4);
    for (gf::token i = 0; i < 4; ++i) alone.push_back(continued(trunk, i));
    {
        std::vector<std::thread> threads;
        for (gf::token i = 0; i < 4; ++i)  // forks share the full pages of the trunk's cache
            threads.emplace_back([&together, &trunk, i] {
                gf::session const fork = trunk;
                together[i] = continued(fork, i);
            });
        for (auto& t : threads) t.join();
    }
    CHECK(together == alone);
}

TEST_CASE_TEMPLATE("batches of forks of one trunk run on several threads at once", Cache, gf::compressed_keys<>, gf::full_keys<>, gf::expanded_kv<>) {
    using cached = gf::model<little, gf::simd<gf::bf16>, Cache>;
    auto const lm = cached::random(1, {.threads = 2});
    std::vector<gf::token> prompt(200);
    std::iota(prompt.begin(), prompt.end(), 0u);
    for (auto& t : prompt) t %= little.vocab_size;
    gf::session<cached> trunk{lm};
    trunk.append(prompt);

    auto const run = [&](gf::token first) {
        std::vector<gf::session<cached>> forks(3, trunk);
        std::vector<float> result;
        for (gf::token t = 0; t < 12; ++t) {
            auto const at = [&](gf::token i) { return (first + 7 * t + i) % little.vocab_size; };
            if (t % 4 == 3)
                gf::append(forks, std::vector<std::vector<gf::token>>{{at(0)}, {}, std::vector<gf::token>(70, at(1))});
            else
                gf::step(forks, std::vector<gf::token>{at(0), at(1), at(2)});
            if (t == 5) forks.push_back(forks[1]), forks.erase(forks.begin());
            for (auto& fork : forks) {
                auto const logits = fork.logits();
                result.insert(result.end(), logits.begin(), logits.end());
            }
        }
        return result;
    };
    std::vector<std::vector<float>> alone, together(2);
    for (gf::token i = 0; i < 2; ++i) alone.push_back(run(i));
    {
        std::vector<std::thread> threads;
        for (gf::token i = 0; i < 2; ++i) threads.emplace_back([&, i] { together[i] = run(i); });
        for (auto& t : threads) t.join();
    }
    CHECK(together == alone);
    CHECK(trunk.position() == 200);
}

TEST_CASE("a model can be copied, and its threads changed, between uses") {
    auto lm = model::random(1, {.threads = 1});
    auto copy = lm;
    gf::session session{lm};
    std::vector<float> expected;
    for (std::size_t n = 1; n < 5; ++n) {
        copy.threads(n);
        gf::session fresh{lm};
        auto const logits = fresh.step(1);
        if (n == 1) expected.assign(logits.begin(), logits.end());
        CHECK(std::vector<float>(logits.begin(), logits.end()) == expected);
    }
}

TEST_CASE("a model says how many threads it has") {
    auto lm = model::random(1, {.threads = 3});
    auto const copy = lm;
    CHECK(lm.threads() == 3);
    lm.threads(2);
    CHECK(lm.threads() == 2);
    CHECK(copy.threads() == 2);  // they share them
    lm.threads(1);
    CHECK(copy.threads() == 1);
    lm.threads(0);  // all cores
    CHECK(copy.threads() >= 1);
    CHECK(copy.threads() <= 256);
    CHECK(model::random(1).threads() == copy.threads());
    lm.threads(256);
    CHECK(copy.threads() > 1);
    CHECK(copy.threads() <= 256);
}

TEST_CASE("more threads than 256 are refused, and the model keeps those it has") {
    build::temporary_directory const dir;
    auto lm = model::random(1, {.threads = 2});
    lm.save(dir.path("m"));
    gf::session session{lm};
    for (std::size_t const n : {std::size_t{257}, std::size_t{100000}, static_cast<std::size_t>(-1)}) {
        std::string const sentence = "goldfinch: threads must be at most 256, found " + std::to_string(n);
        CHECK(build::message_of<gf::config_error>([&] { lm.threads(n); }) == sentence);
        CHECK(build::message_of<gf::config_error>([&] { (void)model::random(1, {.threads = n}); }) == sentence);
        CHECK(build::message_of<gf::config_error>([&] { (void)model::load(dir.path("m"), {.threads = n}); }) == sentence);
        CHECK(lm.threads() == 2);
        CHECK(session.step(1).size() == little.vocab_size);
    }
}

TEST_CASE("thread_pool: every index once, by valid workers, however short the loop") {
    gf::thread_pool pool(4);
    CHECK(pool.size() == 4);
    for (std::size_t count : {std::size_t{0}, std::size_t{1}, std::size_t{3}, std::size_t{4}, std::size_t{1000}}) {
        for (int round = 0; round < 50; ++round) {
            std::vector<int> seen(count);
            std::atomic<bool> valid = true;
            pool.run(count, [&](std::size_t i, std::size_t worker) {
                ++seen[i];
                if (worker >= 4) valid = false;
            });
            CHECK(valid);
            CHECK(seen == std::vector<int>(count, 1));
        }
    }
}

TEST_CASE("thread_pool: what a loop throws comes out, and the next loop runs") {
    gf::thread_pool pool(3);
    for (int round = 0; round < 20; ++round) {
        CHECK_THROWS_AS(pool.run(100, [](std::size_t i, std::size_t) { if (i % 10 == 3) throw std::runtime_error("no"); }), std::runtime_error);
        std::atomic<std::size_t> sum = 0;
        pool.run(100, [&](std::size_t i, std::size_t) { sum += i; });
        CHECK(sum == 4950);
    }
}

TEST_CASE("the working set is shared by sessions on several threads, and its budget changes meanwhile") {
    auto lm = model::random(1, {.threads = 2});
    std::vector<gf::token> prompt(300);
    std::iota(prompt.begin(), prompt.end(), 0u);
    for (auto& t : prompt) t %= little.vocab_size;
    gf::session trunk{lm};
    trunk.append(prompt);
    auto const expected = continued(trunk, 1);

    constexpr std::size_t page = 64 * model::working_set_bytes_per_token;
    std::atomic<int> wrong = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i)
        threads.emplace_back([&, i] {
            for (int run = 0; run < 4; ++run) {
                gf::session own{lm};
                if (i == 0) own.append(prompt);
                if (continued(i == 0 ? own : trunk, 1) != expected) ++wrong;
            }
        });
    for (std::size_t pages = 0; pages < 40; ++pages) {
        lm.working_set(pages % 7 * page);
        std::this_thread::yield();
    }
    for (auto& thread : threads) thread.join();
    CHECK(wrong == 0);
}
