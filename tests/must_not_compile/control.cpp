// SPDX-License-Identifier: Apache-2.0
#include <goldfinch/goldfinch.hpp>

namespace gf = goldfinch;

inline constexpr gf::config tiny = gf::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 64, .head_size = 16});

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
    static void forward(Backend const& be, weights<Backend> const& p, gf::no_state&, gf::inputs<Backend, 64> x, gf::outputs<Backend, 64> y) {
        linear(be, p.w, x, y);
    }
};

using own = gf::block<mixer, gf::channel_mix<tiny>>;
using attending = gf::block<gf::gold<tiny>, gf::llama_mlp<tiny>>;
using blocks = gf::stack<gf::repeat<own, 4>, gf::token_cat<tiny>, attending, attending>;

void speak() {
    auto const lm = gf::model<tiny, gf::simd<float>, gf::expanded_kv<>, blocks>::random(1);
    gf::session session{lm};
    gf::generate(session, gf::byte_tokenizer{}, "To be", [](auto) { return gf::token{}; }, {}, [](auto) {});
}
