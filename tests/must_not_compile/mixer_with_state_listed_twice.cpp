// SPDX-License-Identifier: Apache-2.0
// expect: goldfinch: the list of a mixer's state must name every tensor in it once, and nothing else can be in it
#include <goldfinch/goldfinch.hpp>

namespace gf = goldfinch;

inline constexpr gf::config tiny = gf::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 64, .head_size = 16});

struct mixer {
    static constexpr std::size_t width = 64;
    static constexpr char const* name = "mixer";

    template <class Backend>
    struct weights {
        gf::linear_weights<Backend, 64, 64> w;
        static constexpr void list(auto& self, auto const& f) { f("weight", self.w); }
    };

    template <class Backend>
    struct state {
        gf::state_tensor<Backend, 64> shift, mean;
        static constexpr void list(auto& self, auto const& f) { f("shift", self.shift), f("mean", self.shift); }
    };

    template <class Backend>
    static void forward(Backend const& be, weights<Backend> const& p, state<Backend> const& s, gf::inputs<Backend, 64> x, gf::outputs<Backend, 64> y) {
        linear(be, p.w, x, y);
        keep_last(be, x, s.shift);
    }
};

using blocks = gf::stack<gf::repeat<gf::block<mixer, gf::channel_mix<tiny>>, 6>>;
auto const lm = gf::model<tiny, gf::simd<float>, gf::compressed_keys<>, blocks>::random(1);
