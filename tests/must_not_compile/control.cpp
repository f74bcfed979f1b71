// SPDX-License-Identifier: Apache-2.0
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
    using state = gf::no_state;

    template <class Backend>
    static void forward(Backend const& be, weights<Backend> const& p, gf::no_state const&, gf::inputs<Backend, 64> x, gf::outputs<Backend, 64> y) {
        linear(be, p.w, x, y);
    }
};

/// The same with a state.
struct remembering : mixer {
    template <class Backend>
    struct state {
        gf::state_tensor<Backend, 64> shift;
        static constexpr void list(auto& self, auto const& f) { f("shift", self.shift); }
    };

    template <class Backend>
    static void forward(Backend const& be, weights<Backend> const& p, state<Backend> const& s, gf::inputs<Backend, 64> x, gf::outputs<Backend, 64> y) {
        linear(be, p.w, x, y);
        keep_last(be, x, s.shift);
    }
};

using own = gf::block<mixer, gf::channel_mix<tiny>>;
using attending = gf::block<gf::gold<tiny>, gf::llama_mlp<tiny>>;
using blocks = gf::stack<gf::repeat<own, 3>, gf::block<remembering, gf::channel_mix<tiny>>, gf::token_cat<tiny>, attending, attending>;

void speak() {
    auto const lm = gf::model<tiny, gf::simd<float>, gf::expanded_kv<>, blocks>::random(1);
    gf::session session{lm};
    std::vector<gf::session<std::remove_const_t<decltype(lm)>>> forks(2, session);
    gf::append(forks, std::vector<std::vector<gf::token>>{{1}, {2, 3}});
    gf::step(forks, std::vector<gf::token>{4, 5});
    gf::generate(session, gf::byte_tokenizer{}, "To be", [](auto) { return gf::token{}; }, {}, [](auto) {});
}
