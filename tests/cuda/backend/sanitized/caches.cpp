// SPDX-License-Identifier: Apache-2.0
// Caches, batches and forks on the CUDA kernels in emulation, with the threads of a block in several orders.
#include <goldfinch/cuda.cuh>

#include "../../../golden.hpp"

#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace {

template <class Cache, class Weight = float>
using tiny = gf::model<golden::tiny, gf::cuda<Weight>, Cache>;
template <class Cache>
using with_rope = gf::model<golden::rope, gf::cuda<float>, Cache>;

/// In appends of up to 69 tokens and a few steps: what runs under sanitizers takes long.
template <class Model>
void check_some(std::string const& name, golden::distances const bound) {
    golden::check<Model>(name, bound, "model.safetensors", "golden.safetensors", {66, 0, 3});
}

std::vector<gf::token> text(std::size_t n, gf::token seed) {
    std::vector<gf::token> result(n);
    for (std::size_t i = 0; i < n; ++i) result[i] = static_cast<gf::token>((seed + 37 * i + i * i / 5) % golden::tiny.vocab_size);
    return result;
}
std::vector<float> copy(std::span<float const> logits) { return {logits.begin(), logits.end()}; }

/// Sessions with ragged prompts and forks that share pages. All of them step together; `alone` makes the same sessions and steps one by one.
template <class Model>
struct ragged {
    using session = gf::session<Model>;
    static constexpr std::size_t lengths[] = {0, 2, 17, 65}, trunks[] = {3, 2, 3};

    Model const& lm;

    std::vector<gf::token> prompt(std::size_t i) const { return text(lengths[i], static_cast<gf::token>(i)); }
    static std::vector<gf::token> next(std::size_t sessions, gf::token round) {
        std::vector<gf::token> result;
        for (std::size_t i = 0; i < sessions; ++i) result.push_back((round * 50 + static_cast<gf::token>(i) * 7) % 256);
        return result;
    }
    /// All logits of the given sessions' steps, where `step` takes them and a token each.
    template <class Step>
    static std::vector<float> steps(std::vector<session>& sessions, Step const& step) {
        for (std::size_t const trunk : trunks) sessions.push_back(sessions[trunk]);
        std::vector<float> seen;
        for (gf::token round = 0; round < 2; ++round) {
            step(sessions, next(sessions.size(), round));
            for (session& each : sessions) {
                auto const logits = each.logits();
                seen.insert(seen.end(), logits.begin(), logits.end());
            }
        }
        return seen;
    }
    std::vector<float> together() const {
        std::vector<session> sessions(std::size(lengths), session{lm});
        std::vector<std::vector<gf::token>> prompts;
        for (std::size_t i = 0; i < sessions.size(); ++i) prompts.push_back(prompt(i));
        gf::append(sessions, prompts);
        return steps(sessions, [](auto& all, auto const& tokens) { gf::step(all, tokens); });
    }
    std::vector<float> alone() const {
        std::vector<session> sessions(std::size(lengths), session{lm});
        for (std::size_t i = 0; i < sessions.size(); ++i) sessions[i].append(prompt(i));
        return steps(sessions, [](auto& all, auto const& tokens) {
            for (std::size_t i = 0; i < all.size(); ++i) all[i].step(tokens[i]);
        });
    }
};

}  // namespace

TEST_CASE("every float cache gives the official logits") {
    check_some<tiny<gf::full_keys<float>>>("goldfinch_tiny", golden::exact);
    check_some<tiny<gf::expanded_kv<float>>>("goldfinch_tiny", golden::exact);
    check_some<with_rope<gf::expanded_kv<float>>>("goldfinch_rope", golden::exact);
}

TEST_CASE("rounded caches stay within their bounds") {
    check_some<tiny<gf::compressed_keys<gf::bf16>>>("goldfinch_tiny", {0.03, 0.03, 0.03});
    check_some<tiny<gf::expanded_kv<gf::bf16>>>("goldfinch_tiny", {0.03, 0.03, 0.03});
    check_some<tiny<gf::compressed_keys<gf::int8>>>("goldfinch_tiny", {0.05, 0.05, 0.05});
    check_some<tiny<gf::expanded_kv<gf::int8>>>("goldfinch_tiny", {0.05, 0.05, 0.05});
}

TEST_CASE("a batch with forks gives what its sessions give alone, in whatever order threads run") {
    using model = tiny<gf::compressed_keys<float>>;
    auto const lm = model::random(1, {.threads = 1});
    auto const expected = ragged<model>{lm}.together();
    CHECK(golden::distance(ragged<model>{lm}.alone(), expected) <= 3e-5);
    auto const before = emulation::order_in_use();
    for (emulation::order const& order : {emulation::orders[1], emulation::orders[3]}) {
        emulation::set_order(order);
        CHECK(ragged<model>{lm}.together() == expected);
    }
    emulation::set_order(before);
    auto const none = model::random(1, {.threads = 1, .working_set = 0});
    CHECK(ragged<model>{none}.together() == expected);  // with nothing kept
    using expanded = tiny<gf::expanded_kv<gf::bf16>>;
    auto const rounded = expanded::random(1);
    CHECK(golden::distance(ragged<expanded>{rounded}.alone(), ragged<expanded>{rounded}.together()) <= 5e-3);
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
