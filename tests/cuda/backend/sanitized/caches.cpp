// SPDX-License-Identifier: Apache-2.0
// Caches, batches and forks on the CUDA kernels in emulation, with the threads of a block in several orders.
#include <goldfinch/cuda.cuh>

#include "../../../golden.hpp"

#include <filesystem>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

template <class Cache, class Weight = float>
using tiny = gf::model<golden::tiny, gf::cuda<Weight>, Cache>;
template <class Cache>
using with_rope = gf::model<golden::rope, gf::cuda<float>, Cache>;

template <class Model>
void check_some(std::string const& name, golden::distances const bound) {
    bool const exact = std::is_same_v<typename Model::cache_type::value, float>;
    golden::check<Model>(name, bound, "model.safetensors", "golden.safetensors", {62, exact ? 1 : 0, 3});
}

std::vector<gf::token> text(std::size_t n, gf::token seed) {
    std::vector<gf::token> result(n);
    for (std::size_t i = 0; i < n; ++i) result[i] = static_cast<gf::token>((seed + 37 * i + i * i / 5) % golden::tiny.vocab_size);
    return result;
}
std::vector<float> copy(std::span<float const> logits) { return {logits.begin(), logits.end()}; }

/// Ragged prompts, forks that share pages, and steps: the logits of a batch, and how far they are from those of the same sessions alone.
template <class Model>
std::pair<std::vector<float>, double> ragged(Model const& lm) {
    using session = gf::session<Model>;
    std::vector<session> together(4, session{lm}), alone(4, session{lm});
    std::size_t const lengths[] = {0, 3, 64, 131};
    std::vector<std::vector<gf::token>> prompts;
    for (std::size_t i = 0; i < 4; ++i) prompts.push_back(text(lengths[i], static_cast<gf::token>(i)));
    gf::append(together, prompts);
    for (std::size_t i = 0; i < 4; ++i) alone[i].append(prompts[i]);
    for (std::size_t const trunk : {3u, 2u, 3u}) together.push_back(together[trunk]), alone.push_back(alone[trunk]);

    std::vector<float> seen;
    double worst = 0;
    for (gf::token round = 0; round < 3; ++round) {
        std::vector<gf::token> next;
        for (std::size_t i = 0; i < together.size(); ++i) next.push_back((round * 50 + static_cast<gf::token>(i) * 7) % 256);
        gf::step(together, next);
        for (std::size_t i = 0; i < together.size(); ++i) {
            auto const logits = together[i].logits();
            seen.insert(seen.end(), logits.begin(), logits.end());
            worst = std::max(worst, golden::distance(alone[i].step(next[i]), logits));
        }
    }
    return {seen, worst};
}

}  // namespace

TEST_CASE("every float cache gives the official logits") {
    check_some<tiny<gf::full_keys<float>>>("goldfinch_tiny", golden::exact);
    check_some<tiny<gf::expanded_kv<float>>>("goldfinch_tiny", golden::exact);
    check_some<with_rope<gf::expanded_kv<float>>>("goldfinch_rope", golden::exact);
}

TEST_CASE("rounded caches stay within their bounds") {
    check_some<tiny<gf::compressed_keys<gf::bf16>>>("goldfinch_tiny", {0.03, 0.03, 0.03});
    check_some<tiny<gf::full_keys<gf::bf16>>>("goldfinch_tiny", {0.03, 0.03, 0.03});
    check_some<tiny<gf::expanded_kv<gf::bf16>>>("goldfinch_tiny", {0.03, 0.03, 0.03});
    check_some<tiny<gf::compressed_keys<gf::int8>>>("goldfinch_tiny", {0.05, 0.05, 0.05});
    check_some<tiny<gf::expanded_kv<gf::int8>>>("goldfinch_tiny", {0.05, 0.05, 0.05});
}

TEST_CASE("a batch with forks gives what its sessions give alone, in whatever order threads run") {
    using model = tiny<gf::compressed_keys<float>>;
    auto const lm = model::random(1, {.threads = 1});
    auto const before = emulation::order_in_use();
    std::vector<float> expected;
    for (emulation::order const& order : {emulation::orders[0], emulation::orders[1], emulation::orders[3]}) {
        emulation::set_order(order);
        auto const [seen, worst] = ragged(lm);
        CHECK(worst <= 3e-5);
        if (expected.empty()) expected = seen;
        CHECK(seen == expected);
    }
    emulation::set_order(before);
    auto none = model::random(1, {.threads = 1, .working_set = 0});
    CHECK(ragged(none).first == expected);  // with nothing kept
    auto const [seen, worst] = ragged(tiny<gf::expanded_kv<gf::bf16>>::random(1));
    CHECK(worst <= 5e-3);
}

TEST_CASE("a session on a GPU is saved and restored bit for bit") {
    using model = tiny<gf::compressed_keys<gf::int8>>;
    auto const lm = model::random(3, {.threads = 1});
    gf::session session{lm};
    session.append(text(70, 1));
    auto const path = std::filesystem::temp_directory_path() / "goldfinch_cuda_session";
    session.save(path);
    gf::session restored{lm, path};
    std::filesystem::remove(path);
    CHECK(copy(restored.logits()) == copy(session.logits()));
    CHECK(copy(restored.step(5)) == copy(session.step(5)));
}
