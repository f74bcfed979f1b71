// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>

// What can be put into a model: mixers and caches. Backends are described with their operations (backend/operations.hpp).

namespace goldfinch {

namespace detail {

/// Placeholders for a backend, and for the model's side of a key cache, where a class is only looked at for its templates.
struct some_backend {
    using weight = float;
    using scalar = float;
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
/// `template <class Backend> struct state`, both with a list (layer/list.hpp), and a static `forward`, which a model looks for
/// where the backend is known.
///
/// x and y hold rows of one sequence or of several (batch.hpp). Operations that look at the rows before a row, or carry a state along, take
/// a state_tensor and know the boundaries by it; all others see rows.
template <class Mixer>
concept mixer = detail::has_width<Mixer> && detail::has_name<Mixer> && detail::has_weights<Mixer> && detail::has_state<Mixer>;

/// What an attention mixer attends to.
enum class attends_to {
    own_keys,    ///< keys and values that its block makes of its own input and keeps: memory grows with every block
    shared_keys  ///< the one key cache of a session, which token_cat fills: its keys and values can be made again at any time
};

/// A time mix that attends to the past, `Mixer::keys` says what of it: attends_to::own_keys or attends_to::shared_keys.
///
/// With own_keys: forward(backend, weights, state, cache, x, y), where cache.sequences() are those of x, for rotary embeddings,
/// cache.append(be, K, V) adds the keys and values of x, and cache.template attend<H>(be, q, y) attends from the rows of x.
///
/// With shared_keys: forward(backend, weights, state, keys, x, y), where keys.sequences() are those of x and
/// keys.template attend<Mixer>(be, weights, q, y) attends with Mixer::H heads; key_value, which makes the keys and values of positions
/// (layer/gold.hpp); and `reach`, how many tokens back its output looks besides.
template <class Mixer>
concept attention_mixer = mixer<Mixer> && requires {
    { Mixer::keys } -> std::convertible_to<attends_to>;
};

/// A time mix or channel mix whose state has a fixed size: forward(backend, weights, state, x, y).
template <class Mixer>
concept recurrent_mixer = mixer<Mixer> && !attention_mixer<Mixer>;

/// A cache type: what a session keeps of every token for the blocks above token_cat. It has a name, the type `value` in which it keeps
/// numbers (as also blocks with keys of their own keep theirs), and what one session keeps, `template <class Backend, class Source> class
/// store`, a value type whose copy is a fork. Source is the model's side: its sizes `vocab_size`, `width`, `key_width`, `n_gold`, and
///
///     source.embeddings(be, ids, e)        embeddings e [n, width] of token ids in memory of the backend
///     source.look_up(be, ids, e)           the same before they are normalised, and
///     source.normalise(be, e)              the rest: for ids that do not lie in one place
///     source.expand(be, e, c, k)           shared keys k [n, width] from embeddings and compressed keys c [n, key_width]
///     source.has_parts                     whether it also has, instead of expand,
///     source.expand_embedding(be, e, y)    the part y [n, width] of shared keys that depends on the embeddings alone, and
///     source.add_compressed(be, c, k)      the rest: from that part, in k, to shared keys
///     source.each_gold(f)                  f(mixer, weights, index) for every block above token_cat
///     source.kept                          the model's working set (cache/working_set.hpp), shared
///     source.lists                         memory of lists that end with the run (detail/run_memory.hpp)
///
/// A store has
///
///     row_bytes                            bytes that a position takes
///     rebuilt_bytes                        bytes that a position's keys and values of all blocks take in the model's working set; 0 if it uses none
///     state                                what it keeps besides, in the session's state: a struct with a list, or no_state
///     append(be, source, state, sequences, stores, tokens, e, c)    (static) adds the tokens of a batch, one a row of e and c, to its stores
///     pass(be, source, sequences, stores)  one run of a batch through the blocks above token_cat; pass.block(i) is what the i-th attends
///                                          to: `sequences()` and `attend<Mixer>(be, weights, q, y)`
///     size(), bytes()                      positions, bytes allocated
///     reserve(n), resize(n)                room for n positions; n positions, to be read by transfer
///     transfer(self, archive)              (static) passes all rows to archive.bytes(pointer, count), which reads or writes them
///     valid()                              whether what was read can be used
template <class Cache>
concept key_cache = detail::has_name<Cache> && requires {
    typename Cache::value;
    typename Cache::template store<detail::some_backend, detail::some_source>;
};

}  // namespace goldfinch
