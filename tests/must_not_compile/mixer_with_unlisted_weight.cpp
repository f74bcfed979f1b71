// SPDX-License-Identifier: Apache-2.0
// expect: goldfinch: the list of a mixer's weights must name every tensor in them once, and nothing else can be in them
#include <goldfinch/goldfinch.hpp>

namespace gf = goldfinch;

inline constexpr gf::config tiny = gf::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 64, .head_size = 16});

struct mixer {
    static constexpr std::size_t width = 64;
    static constexpr char const* name = "mixer";

    template <class Backend>
    struct weights {
        gf::linear_weights<Backend, 64, 64> w, forgotten;
        static constexpr void list(auto& self, auto const& f) { f("weight", self.w); }
    };

    template <class Backend>
    using state = gf::no_state;

    template <class Backend>
    static void forward(Backend const& be, weights<Backend> const& p, gf::no_state const&, gf::inputs<Backend, 64> x, gf::outputs<Backend, 64> y) {
        linear(be, p.w, x, y);
    }
};

using blocks = gf::stack<gf::repeat<gf::block<mixer, gf::channel_mix<tiny>>, 6>>;
auto const lm = gf::model<tiny, gf::simd<float>, gf::compressed_keys<>, blocks>::random(1);
