// SPDX-License-Identifier: Apache-2.0
#include "../golden.hpp"

#include <goldfinch/backend/cpu/memory.hpp>
#include <goldfinch/backend/cpu/runtime.hpp>
#include <goldfinch/backend/operations.hpp>
#include <goldfinch/backend/reference.hpp>
#include <goldfinch/backend/simd.hpp>
#include <goldfinch/batch.hpp>
#include <goldfinch/cache/pages.hpp>
#include <goldfinch/layer/channel_mix.hpp>
#include <goldfinch/layer/finch_c2.hpp>
#include <goldfinch/layer/gold.hpp>
#include <goldfinch/layer/state.hpp>
#include <goldfinch/layer/token_cat.hpp>
#include <goldfinch/layer/weights.hpp>
#include <goldfinch/parameters.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "encode.hpp"

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
        fresh<typename gf::finch_c2<C>::template state<Backend>> const s;
        auto const x = normalised(i, "ln1", input(i));
        auto y = room<D>();
        gf::finch_c2<C>::forward(be_, p, s.layer, rows<D>(x), out<D>(y));
        near(y, official_.floats(name + ".att"));

        auto const state = official_.floats(name + ".wkv_state");  // [head][value][key], ours is [head][key][value]
        std::vector<float> ours(state.size());
        for (std::size_t h = 0; h < H; ++h)
            for (std::size_t k = 0; k < N; ++k)
                for (std::size_t v = 0; v < N; ++v) ours[(h * N + v) * N + k] = static_cast<float>(s.layer.wkv[0].data[(h * N + k) * N + v]);
        near(ours, state);
    }

    void check_channel_mix(std::size_t i) {
        auto const name = "block." + std::to_string(i);
        auto const p = load<typename gf::channel_mix<C>::template weights<Backend>>("blocks." + std::to_string(i) + ".ffn");
        fresh<typename gf::channel_mix<C>::template state<Backend>> const s;
        auto x = input(i);
        auto const att = official_.floats(name + ".att");
        for (std::size_t j = 0; j < x.size(); ++j) x[j] += static_cast<S>(att[j]);
        auto const h = normalised(i, "ln2", x);
        auto y = room<D>();
        gf::channel_mix<C>::forward(be_, p, s.layer, rows<D>(h), out<D>(y));
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
        fresh<typename gf::gold<C>::template state<Backend>> const s;
        auto const x = normalised(i, "ln1", input(i)), k = wide(official_.floats("k_cache"));
        auto e = wide(official_.floats("x_original"));
        auto y = room<D>();
        rms_norm(be_, out<D>(e), out<D>(e));
        all_keys const keys{s.sequences, rows<D>(e), rows<D>(k)};
        gf::gold<C>::forward(be_, p, s.layer, keys, rows<D>(x), out<D>(y));
        near(y, official_.floats("block." + std::to_string(i) + ".att"));
    }

private:
    /// A layer's state at the start of a sequence, of which all T rows come at once.
    template <class State>
    struct fresh {
        std::vector<S> values = std::vector<S>(gf::state_size<State>);
        gf::single<S> one{values.data(), T, 0};
        gf::batch<S> const& sequences = one;
        State layer = gf::state_at<State>(sequences, 0);
    };

    /// The whole sequence in the place of a cache, in one tile: the keys that blocks share, and what their values are made from.
    struct all_keys {
        gf::batch<S> const& of;
        gf::inputs<Backend, D> o, k;

        gf::batch<S> const& sequences() const { return of; }

        template <class Mixer, class Weights>
        void attend(Backend const& be, Weights const& p, gf::inputs<Backend, D> q, gf::outputs<Backend, D> y) const {
            static_assert(T <= gf::detail::page_positions);
            std::vector<S> zeros(D);
            auto K = room<D>(), V = room<D>();
            gf::single<S> const before(zeros.data(), T, 0);
            auto const nothing = before.template state<Backend, D>();
            Mixer::key_value(be, p, of, nothing, o, nothing, k, out<D>(K), out<D>(V));
            gf::softmax_attention<Mixer::H>(be, of, q, tiles{rows<D>(K), rows<D>(V)}, y);
        }
    };

    struct tiles {
        gf::inputs<Backend, D> K, V;

        std::size_t positions(std::size_t) const { return T; }
        std::size_t owner(std::size_t i, std::size_t) const { return i; }
        template <class Use>
        void read(Backend const&, std::size_t, std::size_t, Use const& use) const {
            use(K, V);
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
        layer_norm(be_, p, rows<D>(x), out<D>(y));
        return y;
    }

    /// A layer's weights from the file, by their list.
    template <class Weights>
    Weights load(std::string const& prefix) {
        Weights p;
        for (auto& t : gf::detail::list_parameters(p)) {
            std::string const name = prefix.empty() ? t.name : prefix + "." + t.name;
            auto const* const stored = weights_.find(name);
            REQUIRE_MESSAGE(stored != nullptr, name);
            CHECK(stored->shape == std::vector<std::uint64_t>(t.shape.begin(), t.shape.end()));
            owned_.push_back(encode(t, decoded(*stored)));
        }
        return p;
    }

    static std::vector<double> decoded(gf::stored_tensor const& t) {
        std::vector<double> numbers(t.bytes.size() / sizeof(float));
        REQUIRE(t.type == gf::dtype::f32);
        std::byte const* const data = t.bytes.data();
        gf::detail::plain_format_of<float>.decode(&data, numbers.size(), numbers.data());
        return numbers;
    }

    void near(auto const& ours, std::vector<float> const& official) {
        double scale = 1;
        for (float const v : official) scale = std::max(scale, static_cast<double>(std::abs(v)));
        CHECK(golden::distance(ours, official) < 3e-5 * scale);
    }

    gf::checkpoint weights_;
    golden::vectors official_;
    std::vector<gf::aligned_vector<std::byte>> owned_;
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
