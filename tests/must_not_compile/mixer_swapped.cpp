// SPDX-License-Identifier: Apache-2.0
// expect: goldfinch: a time mix needs a static forward(backend, weights, state, x, y)
#include <goldfinch/goldfinch.hpp>

namespace gf = goldfinch;

inline constexpr gf::config tiny = gf::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 64, .head_size = 16});

/// It reads its fifth argument and writes its fourth.
struct mixer {
    static constexpr std::size_t width = 64;
    static constexpr char const* name = "mixer";

    template <class Backend>
    struct weights {
        gf::matrix<typename Backend::weight const, 64, 64> w;
        static constexpr void list(auto& self, auto const& f) { f("weight", self.w); }
    };

    template <class Backend>
    using state = gf::no_state;

    template <class Backend>
    static void forward(Backend const& be, weights<Backend> const& p, gf::no_state const&, gf::outputs<Backend, 64> x, gf::inputs<Backend, 64> y) {
        linear(be, p.w, y, x);
    }
};

using blocks = gf::stack<gf::repeat<gf::block<mixer, gf::channel_mix<tiny>>, 6>>;
auto const lm = gf::model<tiny, gf::simd<float>, gf::compressed_keys<>, blocks>::random(1);
