// SPDX-License-Identifier: Apache-2.0
// expect: goldfinch: a mixer needs its parameters: template <class Backend> struct weights, with a list
#include <goldfinch/goldfinch.hpp>

namespace gf = goldfinch;

inline constexpr gf::config tiny = gf::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 64, .head_size = 16});

struct mixer {
    static constexpr std::size_t width = 64;
    static constexpr char const* name = "mixer";

    template <class Backend>
    using state = gf::no_state;

    template <class Backend>
    static void forward(Backend const& be, gf::no_state const&, gf::inputs<Backend, 64> x, gf::outputs<Backend, 64> y) {
        copy(be, x, y);
    }
};

gf::block<mixer, gf::channel_mix<tiny>> b;
