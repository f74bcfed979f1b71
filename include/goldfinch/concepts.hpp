// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>

namespace goldfinch {

/// Where a model computes: reference, simd<Weight>. Its operations are the functions of reference.hpp, found by its type.
template <class Backend>
concept backend = requires {
    typename Backend::weight;
    typename Backend::scalar;
    typename Backend::runtime;
    typename Backend::template buffer<float>;
};

/// A layer: a width, a name, weights with a list and a state with a list (layer/parameter.hpp). It has a static `forward`.
template <class Mixer>
concept mixer = requires {
    { Mixer::width } -> std::convertible_to<std::size_t>;
    { Mixer::name } -> std::convertible_to<char const*>;
};

/// A time mix or channel mix whose state has a fixed size: forward(backend, weights, state, x, y).
template <class Mixer>
concept recurrent_mixer = mixer<Mixer> && !requires { typename Mixer::uses_keys; };

/// A time mix that attends to the shared key cache: forward(backend, weights, state, keys, x, y), and key_value, which makes
/// the keys and values of positions. `reach` says how many tokens back its output looks besides.
template <class Mixer>
concept attention_mixer = mixer<Mixer> && requires { typename Mixer::uses_keys; } && requires {
    { Mixer::reach } -> std::convertible_to<std::size_t>;
};

}  // namespace goldfinch
