// SPDX-License-Identifier: Apache-2.0
// Models on a GPU against the oracle, where there is one; elsewhere what they say.
#include "models.hpp"

#include <goldfinch/backend/reference.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <iostream>
#include <random>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

namespace gf = goldfinch;

namespace {

/// Why models cannot be made here; empty where they can.
template <class Model>
std::string problem() {
    try {
        (void)Model::random(1, {.threads = 1});
        return "";
    } catch (gf::cuda_error const& e) {
        return e.what();
    }
}

std::vector<gf::token> text(std::size_t n, std::size_t vocab_size, unsigned seed) {
    std::mt19937 random(seed);
    std::vector<gf::token> result(n);
    for (gf::token& t : result) t = static_cast<gf::token>(random() % vocab_size);
    return result;
}

double relative_l2(std::span<float const> x, std::span<float const> expected) {
    REQUIRE(x.size() == expected.size());
    double difference = 0, size = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
        double const d = static_cast<double>(x[i]) - static_cast<double>(expected[i]);
        difference += d * d;
        size += static_cast<double>(expected[i]) * static_cast<double>(expected[i]);
    }
    return std::sqrt(difference / size);
}

/// The same weights on a GPU and on the oracle: a prompt, chunks, steps, a batch with a fork, and a session file.
template <class Model>
void check(std::string const& name) {
    if (std::string const why = problem<Model>(); !why.empty()) {
        std::cout << "skipped: a model on a GPU, " << name << ": " << why << '\n';
        return;
    }
    using oracle = gf::model<Model::cfg, gf::reference, typename Model::cache_type, typename Model::stack_type>;
    auto const folder = std::filesystem::temp_directory_path();
    auto const weights = folder / "goldfinch_gpu_weights", file = folder / "goldfinch_gpu_session";
    auto const lm = Model::random(1);
    lm.save(weights);
    auto const truth = oracle::load(weights);
    gf::session ours{lm};
    gf::session theirs{truth};
    double worst = 0;
    for (std::size_t const n : {std::size_t{150}, std::size_t{1}, std::size_t{17}, std::size_t{300}, std::size_t{2}}) {
        auto const chunk = text(n, Model::cfg.vocab_size, static_cast<unsigned>(n));
        ours.append(chunk), theirs.append(chunk);
        worst = std::max(worst, relative_l2(ours.logits(), theirs.logits()));
    }
    for (gf::token t = 0; t < 5; ++t) worst = std::max(worst, relative_l2(ours.step(t), theirs.step(t)));

    std::array<gf::session<Model>, 3> batch{ours, gf::session{lm}, ours};
    std::array<gf::session<oracle>, 3> expected{theirs, gf::session{truth}, theirs};
    std::vector<std::vector<gf::token>> const prompts{{1, 2, 3}, text(70, 256, 9), {}};
    gf::append(batch, prompts), gf::append(expected, prompts);
    for (gf::token t = 0; t < 3; ++t) {
        std::array<gf::token, 3> const next{t, 7, static_cast<gf::token>(t + 9)};
        gf::step(batch, next), gf::step(expected, next);
        for (std::size_t i = 0; i < batch.size(); ++i) worst = std::max(worst, relative_l2(batch[i].logits(), expected[i].logits()));
    }
    ours.save(file);
    gf::session restored{lm, file};
    CHECK(relative_l2(restored.step(3), ours.step(3)) == 0);
    std::filesystem::remove(weights), std::filesystem::remove(file);
    std::cout << name << ": relative L2 " << worst << '\n';
    bool const rounds_nothing = std::is_same_v<typename Model::backend_type, gf::cuda<float>> && std::is_same_v<typename Model::cache_type::value, float>;
    CHECK(worst <= (rounds_nothing ? 5e-4 : 2e-2));
}

}  // namespace

#define GPU_MODEL(C, Weight, ...) \
    SUBCASE(#C ", " #Weight ", " #__VA_ARGS__) { check<gf::model<C, gf::cuda<Weight>, __VA_ARGS__>>(#C ", " #Weight ", " #__VA_ARGS__); }
TEST_CASE("models on a GPU give what the oracle does") { GPU_MODELS }

TEST_CASE("a model on a GPU says in one sentence why there is none") {
    using model = gf::model<gpu::tiny, gf::cuda<float>, gf::compressed_keys<float>>;
    std::string const why = problem<model>();
    if (why.empty()) {
        CHECK_THROWS_AS((void)model::random(1, {.device = 1000}), gf::cuda_error);
        return;
    }
    CHECK(why.starts_with("goldfinch: cuda"));
    CHECK(why.find('\n') == why.npos);
}
