// SPDX-License-Identifier: Apache-2.0
// Layers, caches, models and sessions go through CUDA's compiler: a backend is all that is left to write for it.
#include <goldfinch/backend/counting.hpp>
#include <goldfinch/cache/compressed_keys.hpp>
#include <goldfinch/cache/expanded_kv.hpp>
#include <goldfinch/cache/full_keys.hpp>
#include <goldfinch/session.hpp>

namespace gf = goldfinch;

struct types {
    using weight = gf::bf16;
    template <std::size_t Out, std::size_t In>
    using linear_weights = gf::matrix<gf::bf16 const, Out, In>;
    template <std::size_t Out, std::size_t In>
    using sparse_input_weights = linear_weights<Out, In>;
};

inline constexpr gf::config tiny = gf::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 64, .head_size = 16});

template class gf::session<gf::model<tiny, gf::counting<types>, gf::compressed_keys<gf::int8>>>;
template class gf::session<gf::model<tiny, gf::counting<types>, gf::full_keys<float>>>;
template class gf::session<gf::model<tiny, gf::counting<types>, gf::expanded_kv<gf::bf16>>>;
