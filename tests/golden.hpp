// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <goldfinch/goldfinch.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <vector>

// Test vectors of the official code: model weights, tokens, and what the official code made of them.

namespace gf = goldfinch;

namespace golden {

inline constexpr gf::config tiny = gf::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 64, .head_size = 16});
inline constexpr gf::config small = gf::checked({.vocab_size = 512, .n_layer = 6, .n_embd = 128, .head_size = 64, .dim_ffn = 160});
inline constexpr gf::config rope = gf::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 32, .head_size = 32, .rope_base = 10000});
inline constexpr gf::config ratio2 = gf::checked({.vocab_size = 256, .n_layer = 4, .n_gold = 2, .n_embd = 32, .head_size = 16});
inline constexpr gf::config ratio6 = gf::checked({.vocab_size = 256, .n_layer = 6, .n_gold = 1, .n_embd = 32, .head_size = 16});

/// The folder of a config's vectors: in GOLDFINCH_GOLDEN_DIR, beside the repository, or the copies in it. None: says so.
inline std::optional<std::filesystem::path> folder(std::string const& name) {
    std::vector<std::filesystem::path> places;
    if (char const* const dir = std::getenv("GOLDFINCH_GOLDEN_DIR")) places.emplace_back(dir);
    std::filesystem::path const source = GOLDFINCH_SOURCE_DIR;
    places.push_back(source / "../shared/golden");
    places.push_back(source / "tests/data/golden");
    for (auto const& place : places)
        if (std::filesystem::exists(place / name / "golden.safetensors")) return place / name;
    std::cout << "skipped: golden vectors " << name << " (set GOLDFINCH_GOLDEN_DIR)\n";
    return std::nullopt;
}

/// Tensors of a file, as floats; integers as tokens.
class vectors {
public:
    explicit vectors(std::filesystem::path const& path) : file_(gf::read_checkpoint(path)) {}

    bool has(std::string const& name) const { return file_.find(name) != nullptr; }
    std::vector<float> floats(std::string const& name) const { return read<float>(name); }
    std::vector<gf::token> tokens(std::string const& name) const {
        auto const wide = read<std::int64_t>(name);
        return {wide.begin(), wide.end()};
    }

private:
    template <class T>
    std::vector<T> read(std::string const& name) const {
        auto const* const t = file_.find(name);
        REQUIRE_MESSAGE(t != nullptr, name);
        std::vector<T> values(t->bytes.size() / sizeof(T));
        std::memcpy(values.data(), t->bytes.data(), t->bytes.size());
        return values;
    }
    gf::checkpoint file_;
};

/// Largest absolute difference; a NaN counts as infinite.
template <class A, class B>
double distance(A const& a, B const& b) {
    REQUIRE(a.size() == b.size());
    double worst = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        double const d = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
        worst = d <= worst ? worst : (d == d ? d : HUGE_VAL);
    }
    return worst;
}

struct distances {
    double full = 0, stepped = 0, chunked = 0;
};

/// How much of it: appends of every `stride`-th length, so many splits into random chunks, and the first tokens one by one.
struct effort {
    std::size_t stride = 11;
    int rounds = 6;
    std::size_t stepped = std::size_t(-1);
};

/// How far a model's logits are from the official ones at the last token of every sequence in the file after one append, at
/// every token when they come one by one, and wherever random chunks end.
template <class Model>
distances compare(Model const& lm, vectors const& expected, effort const much = {}) {
    constexpr std::size_t V = Model::cfg.vocab_size;
    distances worst;
    for (std::string const prefix : {"", "t17.", "t1.", "tctx."}) {
        if (!expected.has(prefix + "logits_full")) continue;
        auto const tokens = expected.tokens(prefix + "tokens");
        auto const logits = expected.floats(prefix + "logits_full");
        auto const after = [&](std::size_t n) { return std::span(logits).subspan((n - 1) * V, V); };

        for (std::size_t n = 1; n <= tokens.size(); n += n < 3 ? 1 : much.stride) {
            gf::session full{lm};
            full.append(std::span(tokens).first(n));
            worst.full = std::max(worst.full, distance(full.logits(), after(n)));
        }
        gf::session stepped{lm};
        for (std::size_t t = 0; t < std::min(much.stepped, tokens.size()); ++t) worst.stepped = std::max(worst.stepped, distance(stepped.step(tokens[t]), after(t + 1)));

        std::mt19937 random(1);
        for (int round = 0; round < much.rounds; ++round) {
            gf::session chunked{lm};
            for (std::size_t t = 0; t < tokens.size();) {
                std::size_t const n = std::min<std::size_t>(1 + random() % 23, tokens.size() - t);
                chunked.append(std::span(tokens).subspan(t, n));
                t += n;
                if (random() % 2 == 0 || t == tokens.size()) worst.chunked = std::max(worst.chunked, distance(chunked.logits(), after(t)));
            }
        }
    }
    return worst;
}

template <class Model>
void check(std::string const& name, distances const bound, std::string const& model = "model.safetensors", std::string const& expected = "golden.safetensors",
           effort const much = {}) {
    auto const dir = folder(name);
    if (!dir) return;
    auto const d = compare(Model::load(*dir / model, {.threads = 2}), vectors(*dir / expected), much);
    INFO(name, " ", model, ": full ", d.full, ", stepped ", d.stepped, ", chunked ", d.chunked);
    CHECK(d.full <= bound.full);
    CHECK(d.stepped <= bound.stepped);
    CHECK(d.chunked <= bound.chunked);
}

inline constexpr distances exact{3e-5, 3e-5, 3e-5};

}  // namespace golden
