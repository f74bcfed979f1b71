// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <goldfinch/goldfinch.hpp>

/// Associative recall: a prompt is key, value, key, value, ..., with no key twice; then keys ask, and what should come after each is its value.
namespace recall {

/// The model in examples/models/recall.safetensors. Tokens below n_keys are keys, the rest values.
inline constexpr goldfinch::config shape = goldfinch::checked({.vocab_size = 2304, .n_layer = 3, .n_embd = 64, .head_size = 32});

/// What the file's metadata says of it. Throws goldfinch::load_error, also where it says nothing.
inline goldfinch::token n_keys(std::filesystem::path const& file) {
    auto const metadata = goldfinch::read_checkpoint(file).metadata;
    auto const found = metadata.find("n_keys");
    if (found == metadata.end()) throw goldfinch::load_error(file.string() + ": no n_keys in its metadata: it is no model of associative recall");
    return static_cast<goldfinch::token>(std::stoul(found->second));
}

struct task {
    std::vector<goldfinch::token> prompt, keys, values;  ///< keys, all of the prompt, in the order in which they are asked, and the value of each
};

inline task draw(std::size_t n_pairs, goldfinch::token n_keys, std::mt19937& random) {
    std::uniform_int_distribution<goldfinch::token> any_value(n_keys, shape.vocab_size - 1);
    std::vector<goldfinch::token> keys(n_keys);
    std::iota(keys.begin(), keys.end(), goldfinch::token{0});
    std::shuffle(keys.begin(), keys.end(), random);
    keys.resize(n_pairs);
    std::vector<goldfinch::token> value_of(n_keys);
    task result;
    for (goldfinch::token const key : keys) {
        value_of[key] = any_value(random);
        result.prompt.insert(result.prompt.end(), {key, value_of[key]});
    }
    std::shuffle(keys.begin(), keys.end(), random);
    for (goldfinch::token const key : keys) result.values.push_back(value_of[key]);
    result.keys = std::move(keys);
    return result;
}

/// For how many of the keys a session that has read the prompt gives the right value: the likeliest token of all.
template <class Session>
std::size_t n_recalled(Session& session, task const& t) {
    std::size_t n = 0;
    for (std::size_t i = 0; i < t.keys.size(); ++i) {
        auto const logits = session.step(t.keys[i]);
        n += std::max_element(logits.begin(), logits.end()) - logits.begin() == static_cast<std::ptrdiff_t>(t.values[i]);
    }
    return n;
}

}  // namespace recall
