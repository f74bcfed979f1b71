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

namespace detail {

/// Stands for a backend, and for the model's side of a key cache, where the templates of a class are looked for and not used.
struct some_backend {
    using weight = float;
    using scalar = float;
    struct runtime;
    template <class T>
    using buffer = T*;
};
struct some_source;

template <class T>
concept has_width = requires {
    { T::width } -> std::convertible_to<std::size_t>;
};
template <class T>
concept has_name = requires {
    { T::name } -> std::convertible_to<char const*>;
};
template <class T>
concept has_weights = requires {
    typename T::template weights<some_backend>;
};
template <class T>
concept has_state = requires {
    typename T::template state<some_backend>;
};

}  // namespace detail

/// A layer: a static width and name, its parameters `template <class Backend> struct weights` and what it keeps of a sequence
/// `template <class Backend> struct state`, both with a list (layer/parameter.hpp), and a static `forward`, which a model looks for
/// where the backend is known.
template <class Mixer>
concept mixer = detail::has_width<Mixer> && detail::has_name<Mixer> && detail::has_weights<Mixer> && detail::has_state<Mixer>;

/// What an attention mixer attends to.
enum class attends_to {
    own_keys,    ///< keys and values that its block makes of its own input and keeps: memory grows with every block
    shared_keys  ///< the one key cache of a session, which token_cat fills: its keys and values can be made again at any time
};

/// A time mix that attends to the past, `Mixer::keys` says what of it: attends_to::own_keys or attends_to::shared_keys.
///
/// With own_keys: forward(backend, weights, state, cache, x, y), where cache.size() positions came before x, cache.append(be, K, V)
/// adds those of x, and cache.template attend<H>(be, q, y) attends from the positions added last.
///
/// With shared_keys: forward(backend, weights, state, keys, x, y), where keys.position is that of x and
/// keys.template attend<H>(be, q, y) attends; key_value, which makes the keys and values of positions; and `reach`, how many tokens
/// back its output looks besides.
template <class Mixer>
concept attention_mixer = mixer<Mixer> && requires {
    { Mixer::keys } -> std::convertible_to<attends_to>;
};

/// A time mix or channel mix whose state has a fixed size: forward(backend, weights, state, x, y).
template <class Mixer>
concept recurrent_mixer = mixer<Mixer> && !attention_mixer<Mixer>;

/// A cache type: the name and type of the values it keeps, and the cache of a session, `template <class Backend, class Source> store`
/// (cache/*.hpp).
template <class Cache>
concept key_cache = detail::has_name<Cache> && requires {
    typename Cache::value;
    typename Cache::template store<detail::some_backend, detail::some_source>;
};

}  // namespace goldfinch
