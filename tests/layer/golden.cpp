// SPDX-License-Identifier: Apache-2.0
#include "../golden.hpp"

#include <array>

// Each layer by itself: its official input goes in, its official output must come out. Blocks read the residual stream, so a
// block's input is the output of the block before it.

namespace {

template <class Backend>
class layers {
    static constexpr gf::config C = golden::tiny;
    static constexpr std::size_t D = C.n_embd, Z = D / C.kv_cache_compression_ratio, T = 48;
    static constexpr std::size_t H = D / C.head_size, N = C.head_size;
    using S = typename Backend::scalar;
    using W = typename Backend::weight;

public:
    explicit layers(std::filesystem::path const& dir)
        : weights_(gf::read_checkpoint(dir / "model.safetensors")), official_(dir / "golden.safetensors"), runtime_(2), lease_(runtime_), be_(lease_.executor()) {}

    void check_finch_c2(std::size_t i) {
        auto const name = "block." + std::to_string(i);
        auto const p = load<typename gf::finch_c2<C>::template weights<Backend>>("blocks." + std::to_string(i) + ".att");
        typename gf::finch_c2<C>::template state<Backend> s;
        auto const x = normalised(i, "ln1", input(i));
        auto y = room<D>();
        gf::finch_c2<C>::forward(be_, p, s, rows<D>(x), out<D>(y));
        near(y, official_.floats(name + ".att"));

        auto const state = official_.floats(name + ".wkv_state");  // [head][value][key], ours is [head][key][value]
        std::vector<float> ours(state.size());
        for (std::size_t h = 0; h < H; ++h)
            for (std::size_t k = 0; k < N; ++k)
                for (std::size_t v = 0; v < N; ++v) ours[(h * N + v) * N + k] = static_cast<float>(s.wkv.data()[(h * N + k) * N + v]);
        near(ours, state);
    }

    void check_channel_mix(std::size_t i) {
        auto const name = "block." + std::to_string(i);
        auto const p = load<typename gf::channel_mix<C>::template weights<Backend>>("blocks." + std::to_string(i) + ".ffn");
        typename gf::channel_mix<C>::template state<Backend> s;
        auto x = input(i);
        auto const att = official_.floats(name + ".att");
        for (std::size_t j = 0; j < x.size(); ++j) x[j] += static_cast<S>(att[j]);
        auto const h = normalised(i, "ln2", x);
        auto y = room<D>();
        gf::channel_mix<C>::forward(be_, p, s, rows<D>(h), out<D>(y));
        near(y, official_.floats(name + ".ffn"));
    }

    void check_token_cat() {
        auto const p = load<typename gf::token_cat<C>::template weights<Backend>>("");
        auto const x = input(4), e = wide(official_.floats("x_original"));
        auto c = room<Z>(), k = room<D>();
        gf::token_cat<C>::compress(be_, p, rows<D>(x), out<Z>(c));
        near(c, official_.floats("compressed_k_cache"));
        gf::token_cat<C>::expand(be_, p, rows<D>(e), rows<Z>(c), out<D>(k));
        near(k, official_.floats("k_cache"));
    }

    void check_gold(std::size_t i) {
        auto const p = load<typename gf::gold<C>::template weights<Backend>>("blocks." + std::to_string(i) + ".att");
        typename gf::gold<C>::template state<Backend> s;
        auto const x = normalised(i, "ln1", input(i)), k = wide(official_.floats("k_cache")), zeros = std::vector<S>(D);
        auto e = wide(official_.floats("x_original"));
        auto y = room<D>();
        gf::rms_norm(be_, out<D>(e), out<D>(e));
        all_keys keys{room<D>(), room<D>()};
        gf::gold<C>::key_value(be_, p, 0, {zeros.data()}, rows<D>(e), {zeros.data()}, rows<D>(k), out<D>(keys.k), out<D>(keys.v));
        gf::gold<C>::forward(be_, p, s, keys, rows<D>(x), out<D>(y));
        near(y, official_.floats("block." + std::to_string(i) + ".att"));
    }

private:
    /// The whole sequence's keys and values, in the place of a cache.
    struct all_keys {
        std::vector<S> k, v;
        std::size_t position = 0;

        template <std::size_t Heads>
        void attend(Backend const& be, gf::inputs<Backend, D> q, gf::outputs<Backend, D> y) const {
            gf::temporaries tmp(be);
            gf::attention_sums<S, Heads, D> const sums{tmp.sequence<S, Heads>(q.size), tmp.sequence<S, Heads>(q.size), tmp.sequence<S, D>(q.size)};
            gf::clear(be, sums);
            gf::attend(be, q, 0, rows<D>(k), rows<D>(v), 0, sums);
            gf::merge(be, std::span(&sums, 1), y);
        }
    };

    template <std::size_t Width>
    static gf::sequence<S const, Width> rows(std::vector<S> const& x) { return {x.data(), x.size() / Width}; }
    template <std::size_t Width>
    static gf::sequence<S, Width> out(std::vector<S>& x) { return {x.data(), x.size() / Width}; }
    template <std::size_t Width>
    static std::vector<S> room() { return std::vector<S>(T * Width); }
    static std::vector<S> wide(std::vector<float> const& x) { return {x.begin(), x.end()}; }

    /// The residual stream before block i.
    std::vector<S> input(std::size_t i) const { return wide(official_.floats(i == 0 ? "x_original" : "block." + std::to_string(i - 1) + ".x")); }

    std::vector<S> normalised(std::size_t i, std::string const& norm, std::vector<S> const& x) {
        auto const p = load<gf::norm_weights<W const, D>>("blocks." + std::to_string(i) + "." + norm);
        auto y = room<D>();
        gf::layer_norm(be_, p.weight, p.bias, rows<D>(x), out<D>(y));
        return y;
    }

    /// A layer's weights from the file, by their list.
    template <class Weights>
    Weights load(std::string const& prefix) {
        Weights p;
        for (auto const& t : gf::detail::list_parameters<W const>(p)) {
            std::string const name = prefix.empty() ? t.name : prefix + "." + t.name;
            auto const* const stored = weights_.find(name);
            REQUIRE_MESSAGE(stored != nullptr, name);
            CHECK(stored->shape == std::vector<std::uint64_t>(t.shape.begin(), t.shape.end()));
            auto& values = owned_.emplace_back(t.size);
            gf::detail::convert<float>(stored->bytes, std::span(values));
            *t.data = values.data();
        }
        return p;
    }

    void near(auto const& ours, std::vector<float> const& official) {
        double scale = 1;
        for (float const v : official) scale = std::max(scale, static_cast<double>(std::abs(v)));
        CHECK(golden::distance(ours, official) < 3e-5 * scale);
    }

    gf::checkpoint weights_;
    golden::vectors official_;
    std::vector<std::vector<W>> owned_;
    gf::cpu_runtime runtime_;
    gf::cpu_runtime::lease lease_;
    Backend be_;
};

}  // namespace

TEST_CASE_TEMPLATE("every layer gives the official output for the official input", Backend, gf::reference, gf::simd<float>) {
    auto const dir = golden::folder("goldfinch_tiny");
    if (!dir) return;
    layers<Backend> layers(*dir);
    for (std::size_t i = 0; i < 4; ++i) layers.check_finch_c2(i);
    for (std::size_t i = 0; i < 6; ++i) layers.check_channel_mix(i);
    layers.check_token_cat();
    for (std::size_t i = 4; i < 6; ++i) layers.check_gold(i);
}
