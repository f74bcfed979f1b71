// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <goldfinch/architectures.hpp>
#include <goldfinch/backend/reference.hpp>
#include <goldfinch/backend/simd.hpp>
#include <goldfinch/cache/compressed_keys.hpp>
#include <goldfinch/cache/expanded_kv.hpp>
#include <goldfinch/cache/full_keys.hpp>
#include <goldfinch/model.hpp>
#include <goldfinch/session.hpp>

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <numeric>
#include <random>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "golden_models.hpp"

// Sequences that go through a model together against the same ones alone.

namespace batches {

using tokens = std::vector<gf::token>;

/// How far the logits of a batch may be from those of its sequences alone. Weights in bf16 take a prompt's rows in bf16, a single one's in float.
template <class Backend>
inline constexpr double bound = 3e-5;
template <>
inline constexpr double bound<gf::simd<gf::bf16>> = 0.1;
template <>
inline constexpr double bound<gf::reference> = 1e-9;

/// Sessions that work together, and twins that work alone.
template <class Model>
class pair_of_runs {
    using session = gf::session<Model>;
    static constexpr std::size_t V = Model::cfg.vocab_size;

public:
    std::vector<float> seen;  ///< all logits of the sessions that work together, in the order in which they were looked at
    double worst = 0;         ///< how far from those of their twins

    /// Without twins there is nothing to compare with.
    pair_of_runs(Model const& lm, std::size_t n, bool twins) : together_(n, session{lm}), alone_(twins ? n : 0, session{lm}) {}

    std::size_t size() const { return together_.size(); }
    std::size_t below(std::size_t n) { return random_() % n; }
    tokens text(std::size_t n) {
        tokens result(n);
        for (gf::token& t : result) t = static_cast<gf::token>(below(V));
        return result;
    }
    /// Some sessions, at least one, in some order.
    std::vector<std::size_t> some() {
        std::vector<std::size_t> which(size());
        std::iota(which.begin(), which.end(), std::size_t{0});
        std::shuffle(which.begin(), which.end(), random_);
        which.resize(1 + below(size()));
        return which;
    }

    void fork(std::size_t i) {
        together_.push_back(together_[i]);
        if (!alone_.empty()) alone_.push_back(alone_[i]);
    }
    /// Prompts for all.
    void append(std::vector<tokens> const& prompts) {
        gf::append(together_, prompts);
        for (std::size_t i = 0; i < alone_.size(); ++i) alone_[i].append(prompts[i]);
    }
    void append(std::vector<std::size_t> const& which, std::vector<tokens> const& prompts) {
        gf::append(pointers(which), prompts);
        for (std::size_t k = 0; k < which.size() && !alone_.empty(); ++k) alone_[which[k]].append(prompts[k]);
    }
    void step(std::vector<std::size_t> const& which) {
        tokens const next = text(which.size());
        gf::step(pointers(which), next);
        for (std::size_t k = 0; k < which.size() && !alone_.empty(); ++k) alone_[which[k]].step(next[k]);
        look(which);
    }
    /// Several tokens at once, the twin's one by one.
    void step(std::size_t i, std::size_t n) {
        tokens const next = text(n);
        auto const logits = together_[i].step(next);
        REQUIRE(logits.size() == n * V);
        keep(logits);
        for (std::size_t t = 0; t < n && !alone_.empty(); ++t) worst = std::max(worst, golden::distance(alone_[i].step(next[t]), logits.subspan(t * V, V)));
        if (n > 0) CHECK(golden::distance(together_[i].logits(), logits.last(V)) == 0);
    }
    void look(std::vector<std::size_t> const& which) {
        for (std::size_t const i : which) {
            if (together_[i].position() == 0) continue;
            auto const logits = together_[i].logits();
            keep(logits);
            if (alone_.empty()) continue;
            CHECK(together_[i].position() == alone_[i].position());
            worst = std::max(worst, golden::distance(alone_[i].logits(), logits));
        }
    }

private:
    std::vector<session*> pointers(std::vector<std::size_t> const& which) {
        std::vector<session*> result;
        for (std::size_t const i : which) result.push_back(&together_[i]);
        return result;
    }
    void keep(std::span<float const> logits) { seen.insert(seen.end(), logits.begin(), logits.end()); }

    std::vector<session> together_, alone_;
    std::mt19937 random_{7};
};

/// Whether a cache keeps numbers as they are. Where it rounds them, sums that differ in their last bits may round to neighbours.
template <class Cache>
inline constexpr bool exact = std::is_same_v<typename Cache::value, float>;
template <class Backend, class Cache>
inline constexpr double bound_with = exact<Cache> ? bound<Backend> : std::max(bound<Backend>, std::is_same_v<Backend, gf::reference> ? 0 : 5e-3);

/// Ragged prompts, forks and their forks, and calls in any order on any of them.
template <class Model>
pair_of_runs<Model> run(Model const& lm, bool twins) {
    constexpr bool slow = std::is_same_v<typename Model::backend_type, gf::reference>;
    std::size_t const lengths[] = {0, 1, 3, 63, 64, 65, slow ? 140 : 200, slow ? 170 : 300};
    pair_of_runs<Model> all(lm, std::size(lengths), twins);
    std::vector<tokens> prompts;
    for (std::size_t const n : lengths) prompts.push_back(all.text(n));
    all.append(prompts);
    all.look({0, 1, 2, 3, 4, 5, 6, 7});

    std::size_t const trunks[] = {4, 6, 6, 6, 7, 7}, forks[] = {9, 13};  // the forks of the longest: they share full pages and end on their own
    for (std::size_t const trunk : trunks) all.fork(trunk);
    for (std::size_t const fork : forks) {
        all.append({fork}, {all.text(70)});
        all.fork(fork);
        all.fork(fork);
    }
    for (int round = 0; round < (slow ? 4 : 10); ++round) {
        auto const which = all.some();
        if (round % 3 < 2) {
            all.step(which);
        } else {
            prompts.clear();
            for (std::size_t i = 0; i < which.size(); ++i) prompts.push_back(all.text(all.below(4) == 0 ? all.below(150) : all.below(6)));
            all.append(which, prompts);
            if (round % 2 == 0) all.look(which);
        }
        if (round % 4 == 1) all.step(which[0], all.below(9));
        if (round % 4 == 3) all.fork(which[0]);
    }
    std::vector<std::size_t> everyone(all.size());
    std::iota(everyone.begin(), everyone.end(), std::size_t{0});
    all.look(everyone);
    return all;
}

/// A golden model where it is found, a random one elsewhere.
template <class Model>
Model find(std::string const& name, std::size_t threads) {
    if (auto const dir = golden::folder(name)) return Model::load(*dir / "model.safetensors", {.threads = threads});
    return Model::random(1, {.threads = threads});
}

template <gf::config C, class Backend, class Cache = gf::compressed_keys<float>, class Stack = gf::goldfinch_stack<C>>
void check(std::string const& name, double most = bound_with<Backend, Cache>) {
    using model = gf::model<C, Backend, Cache, Stack>;
    auto const one = run(find<model>(name, 1), true);
    INFO(name, ", ", std::string(Cache::name), ": ", one.worst);
    CHECK(one.worst <= most);
    CHECK(one.seen == run(find<model>(name, 2), false).seen);
}

/// Models of every kind.
template <class Backend>
void check_models() {
    using golden::four, golden::four_rope, golden::six, golden::six_one;
    using keys = gf::compressed_keys<float>;
    check<golden::small, Backend>("goldfinch_small");
    check<golden::rope, Backend>("goldfinch_rope");
    check<four_rope, Backend, keys, gf::gptalpha_stack<four_rope>>("gptalpha");
    check<four_rope, Backend, keys, gf::llama_stack<four_rope>>("llama");
    check<four, Backend, keys, gf::finch_stack<four>>("finch");
    check<six, Backend, keys, gf::goldfinch_gptalpha_stack<six>>("goldfinch_gptalpha");
    check<six_one, Backend, keys, gf::goldfinch_on_finch_stack<six_one>>("goldfinch_upgrade");
}

}  // namespace batches
