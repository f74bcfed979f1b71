// SPDX-License-Identifier: Apache-2.0
#include <goldfinch/backend/counting.hpp>
#include <goldfinch/goldfinch.hpp>

#include "../examples/mixers/hgrn2.hpp"
#include "../examples/mixers/rg_lru.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <cmath>
#include <cstddef>
#include <type_traits>
#include <vector>

#include <sys/resource.h>

// What the counting backend says of the released shapes, against counts by hand: the formulas of the layers, term by term.

namespace gf = goldfinch;

namespace {

constexpr gf::config large = gf::presets::goldfinch_1b5, small = gf::presets::goldfinch_0b1;
static_assert(large.n_layer == 24 && large.n_gold == 8 && large.n_embd == 2048 && large.dim_ffn == 7168 && large.vocab_size == 65536);
static_assert(small.n_layer == 12 && small.n_gold == 4 && small.n_embd == 768 && small.dim_ffn == 2688 && small.vocab_size == 65536);

constexpr double V = 65536;

/// Bytes of the weights [out, in] of a product.
using matrix_bytes = double (*)(double out, double in);
double as_bf16(double out, double in) { return 2 * out * in; }
double as_int8(double out, double in) { return out * (std::ceil(in / 4) * 4 + std::ceil(in / 64) * 2); }

/// What a token costs in a layer, and what its weights take. All but the weights of products are bf16.
struct layer {
    double flops, bytes;
};
struct sizes {
    double D, F, N, L, G;
    matrix_bytes w;
    double Z = D / 16, R = std::max(D / 16, 64.0);

    layer channel_mix() const { return {2 * (F * D + D * F + D * D), w(F, D) + w(D, F) + w(D, D) + 2 * 2 * D}; }
    layer norms() const { return {0, 2 * 4 * D}; }
    // Token shifts of rank 32 for five inputs, decay and second value of rank 64; value runs on two inputs; the recurrence takes k v, w S + and r S,
    // five operations an element of the state. time_faaaa is there and is not read.
    layer finch_c2() const {
        return {2 * (D * 160 + 160 * D) + 2 * (D * 64 + 64 * D) * 2 + 2 * 5 * D * D + 5 * D * N,
                4 * w(D, D) + 2 * (7 * D + 2 * 160 * D + 4 * 64 * D + 2 * D)};
    }
    // The bonus: u * k, and its sum with r and v.
    layer finch() const {
        return {2 * (D * 160 + 160 * D) + 2 * (D * 64 + 64 * D) + 2 * 5 * D * D + 5 * D * N + 4 * D,
                5 * w(D, D) + 2 * (7 * D + 2 * 160 * D + 2 * 64 * D + D + 2 * D)};
    }
    layer gold_query() const { return {2 * (D * 32 + 32 * D) + 2 * 2 * D * D, 2 * w(D, D) + 2 * (2 * D + 2 * 32 * D + 4 * D)}; }
    layer gold_key_value() const { return {2 * (D * 64 + 64 * D) + 2 * 4 * D * R, 2 * (3 * D + 4 * 32 * D + 4 * R * D + 4 * D)}; }
    layer compress() const { return {2 * D * Z, w(Z, D)}; }
    layer expand() const { return {2 * D * (D + Z), w(D, D + Z)}; }
    layer gptalpha() const { return {2 * (D * 96 + 96 * D) + 2 * 4 * D * D, 4 * w(D, D) + 2 * (4 * D + 2 * 96 * D + 8 * D)}; }
    layer llama() const { return {2 * 4 * D * D, 4 * w(D, D)}; }
    layer llama_mlp() const {
        double const hidden = std::floor(D * 8 / 3 / 32) * 32;
        return {2 * 3 * D * hidden, 2 * w(hidden, D) + w(D, hidden)};
    }
    layer hgrn2() const { return {2 * 4 * D * D + 5 * D * N + 2 * D, 4 * w(D, D) + 2 * D}; }
    layer rg_lru() const { return {2 * 3 * D * D + 2 * 2 * D * N + 2 * 2 * D, 3 * w(D, D) + 2 * (4 * D + 2 * D * N + 6 * D + D)}; }
    /// Of a query and a key: a product with the key, and one with the value.
    double pair() const { return 2 * 2 * D; }
    double head_flops() const { return 2 * D * V; }
    double other_bytes() const { return w(V, D) + 2 * 4 * D; }  // the head, ln0, ln_out
};
template <gf::config C>
sizes of(matrix_bytes w = as_bf16) {
    return {C.n_embd, C.dim_ffn, C.head_size, C.n_layer, C.n_gold, w};
}

struct count {
    double flops, weights, cache;
};

enum class kept { compressed, compressed_int8, full, expanded };

/// A step of a model with GOLD blocks on `lower` ones, behind n - 1 tokens.
count by_hand(sizes const& s, layer lower, kept what, double n) {
    auto const [D, F, N, L, G, w, Z, R] = s;
    double const pages = std::ceil(n / 64), looked_up = n + pages - 1;  // the first key of a page takes a look at the token before
    bool const keeps_tokens = what != kept::expanded;
    double const made = keeps_tokens ? n : 1;  // positions whose keys and values are made
    count c{};
    c.flops = (L - G) * (lower.flops + s.channel_mix().flops) + s.compress().flops + G * (s.gold_query().flops + s.channel_mix().flops) +
              s.head_flops() + s.expand().flops * (what == kept::compressed || what == kept::compressed_int8 ? looked_up : 1) +
              G * made * s.gold_key_value().flops + G * n * s.pair();
    c.weights = (L - G) * (lower.bytes + s.channel_mix().bytes + s.norms().bytes) + s.compress().bytes + s.expand().bytes +
                G * (s.gold_query().bytes + s.gold_key_value().bytes + s.channel_mix().bytes + s.norms().bytes) + s.other_bytes() +
                2 * D * (1 + (keeps_tokens ? looked_up : 0));  // rows of the embedding
    double const ids = 2 * looked_up;
    switch (what) {
        case kept::compressed: c.cache = 2 * Z * (looked_up + 1) + ids; break;  // once for all blocks
        case kept::compressed_int8: c.cache = (Z + 4) * (looked_up + 1) + ids; break;
        case kept::full: c.cache = 2 * D * (looked_up + 1) + ids; break;
        case kept::expanded: c.cache = G * 2 * 2 * D * (n + 1); break;
    }
    return c;
}

/// A step of a model of L - G blocks of one kind and G of another that attend to keys of their own, `value` bytes each.
count by_hand(sizes const& s, layer lower, layer upper, layer mix, double n) {
    count c{};
    c.flops = (s.L - s.G) * (lower.flops + mix.flops) + s.G * (upper.flops + mix.flops + n * s.pair()) + s.head_flops();
    c.weights = (s.L - s.G) * (lower.bytes + mix.bytes) + s.G * (upper.bytes + mix.bytes) + s.L * s.norms().bytes + s.other_bytes() + 2 * s.D;
    c.cache = s.G * 2 * 2 * s.D * (n + 1);
    return c;
}

double apart(double a, double b) { return a == b ? 0 : std::abs(a - b) / std::max(a, b); }

void check_sums(gf::cost const& c) {
    double flops = 0, weights = 0, cache = 0;
    for (auto const& o : c.operations) {
        CHECK(o.calls > 0);
        CHECK(!o.name.empty());
        flops += o.flops, weights += o.weight_bytes, cache += o.cache_bytes;
    }
    CHECK(apart(flops, c.flops) < 1e-12);
    CHECK(apart(weights, c.weight_bytes) < 1e-12);
    CHECK(apart(cache, c.cache_bytes) < 1e-12);
}

/// f(context) is the count by hand.
template <class Model, class F>
void check_steps(char const* name, F const& f) {
    for (std::size_t const n : {1u, 16u, 4096u, 8192u}) {
        gf::cost const c = gf::decode_cost<Model>(n);
        count const expected = f(static_cast<double>(n));
        INFO(name, " behind ", n, " tokens: ", c.flops, " of ", expected.flops, " flops, ", c.weight_bytes, " of ", expected.weights,
             " weight bytes, ", c.cache_bytes, " of ", expected.cache, " cache bytes");
        CHECK(apart(c.flops, expected.flops) < 0.01);
        CHECK(apart(c.weight_bytes, expected.weights) < 0.01);
        CHECK(apart(c.cache_bytes, expected.cache) < 0.02);
        check_sums(c);
    }
}

template <gf::config C, class Cache, class Weight = gf::bf16, class Stack = gf::goldfinch_stack<C>>
using model = gf::model<C, gf::simd<Weight>, Cache, Stack>;

/// GOLD blocks on any time mix.
template <gf::config C, template <gf::config> class TimeMix>
using gold_on = gf::stack<gf::repeat<gf::block<TimeMix<C>, gf::channel_mix<C>>, std::size_t{C.n_layer - C.n_gold}>, gf::token_cat<C>,
                          gf::repeat<gf::block<gf::gold<C>, gf::channel_mix<C>>, std::size_t{C.n_gold}>>;

template <gf::config C>
void check_caches() {
    sizes const s = of<C>();
    check_steps<model<C, gf::compressed_keys<>>>("compressed_keys", [&](double n) { return by_hand(s, s.finch_c2(), kept::compressed, n); });
    check_steps<model<C, gf::compressed_keys<gf::int8>>>("compressed_keys<int8>",
                                                         [&](double n) { return by_hand(s, s.finch_c2(), kept::compressed_int8, n); });
    check_steps<model<C, gf::full_keys<>>>("full_keys", [&](double n) { return by_hand(s, s.finch_c2(), kept::full, n); });
    check_steps<model<C, gf::expanded_kv<>>>("expanded_kv", [&](double n) { return by_hand(s, s.finch_c2(), kept::expanded, n); });
}

}  // namespace

TEST_CASE("a step of the 1.5 B model costs what its formulas say, with every cache") { check_caches<large>(); }
TEST_CASE("a step of the 0.1 B model costs what its formulas say, with every cache") { check_caches<small>(); }

TEST_CASE("a step of every other stack costs what its formulas say") {
    using cache = gf::compressed_keys<>;
    sizes const s = of<small>();
    sizes none = s, all = s;
    none.G = 0, all.G = s.L;
    layer const nothing{};
    check_steps<model<small, cache, gf::bf16, gf::finch_stack<small>>>(
        "finch", [&](double n) { return by_hand(none, s.finch(), nothing, s.channel_mix(), n); });
    check_steps<model<small, cache, gf::bf16, gf::finch_c2_stack<small>>>(
        "finch_c2", [&](double n) { return by_hand(none, s.finch_c2(), nothing, s.channel_mix(), n); });
    check_steps<model<small, cache, gf::bf16, gf::gptalpha_stack<small>>>(
        "gptalpha", [&](double n) { return by_hand(all, nothing, s.gptalpha(), s.channel_mix(), n); });
    check_steps<model<small, cache, gf::bf16, gf::llama_stack<small>>>("llama",
                                                                       [&](double n) { return by_hand(all, nothing, s.llama(), s.llama_mlp(), n); });
    check_steps<model<small, cache, gf::bf16, gf::goldfinch_gptalpha_stack<small>>>(
        "gptalpha on finch_c2", [&](double n) { return by_hand(s, s.finch_c2(), s.gptalpha(), s.channel_mix(), n); });
    check_steps<model<small, cache, gf::bf16, gf::goldfinch_on_finch_stack<small>>>(
        "GOLD on finch", [&](double n) { return by_hand(s, s.finch(), kept::compressed, n); });
    check_steps<model<small, cache, gf::bf16, gold_on<small, mixers::hgrn2>>>("GOLD on hgrn2",
                                                                              [&](double n) { return by_hand(s, s.hgrn2(), kept::compressed, n); });
    check_steps<model<small, cache, gf::bf16, gold_on<small, mixers::rg_lru>>>("GOLD on rg_lru",
                                                                               [&](double n) { return by_hand(s, s.rg_lru(), kept::compressed, n); });
}

TEST_CASE("keys and values of blocks' own in 8 bits") {
    constexpr double D = 768, n = 4096;
    gf::cost const c = gf::decode_cost<model<small, gf::compressed_keys<gf::int8>, gf::bf16, gf::llama_stack<small>>>(4096);
    CHECK(apart(c.cache_bytes, 12 * 2 * (D + 4) * (n + 1)) < 0.02);
}

TEST_CASE("a step with weights in 8 bits") {
    sizes const s = of<small>(as_int8), l = of<large>(as_int8);
    check_steps<model<small, gf::compressed_keys<>, gf::int8>>("int8", [&](double n) { return by_hand(s, s.finch_c2(), kept::compressed, n); });
    check_steps<model<large, gf::expanded_kv<>, gf::int8>>("int8, expanded_kv",
                                                           [&](double n) { return by_hand(l, l.finch_c2(), kept::expanded, n); });
}

TEST_CASE("reading a prompt") {
    sizes const s = of<small>();
    for (std::size_t const n : {1u, 16u, 512u, 2048u}) {
        auto const tokens = static_cast<double>(n);
        gf::cost const c = gf::prefill_cost<model<small, gf::compressed_keys<>>>(n);
        double const blocks = s.L - s.G;
        CHECK(apart(c.flops, tokens * (blocks * (s.finch_c2().flops + s.channel_mix().flops) + s.compress().flops)) < 0.01);
        // The blocks above token_cat and the head have no part in it.
        CHECK(apart(c.weight_bytes, blocks * (s.finch_c2().bytes + s.channel_mix().bytes + s.norms().bytes) + s.compress().bytes + 2 * 2 * s.D +
                                        tokens * 2 * s.D) < 0.01);
        CHECK(apart(c.cache_bytes, tokens * 2 * s.Z) < 0.02);
        check_sums(c);

        // Every token through every block, and attention to all before it.
        gf::cost const quadratic = gf::prefill_cost<model<small, gf::compressed_keys<>, gf::bf16, gf::llama_stack<small>>>(n);
        CHECK(apart(quadratic.flops, s.L * (tokens * (s.llama().flops + s.llama_mlp().flops) + tokens * (tokens + 1) / 2 * s.pair())) < 0.01);
    }
}

TEST_CASE("sessions in a batch share the weights, and forks their pages") {
    using type = model<small, gf::compressed_keys<>>;
    auto const batch = [](std::size_t position, std::size_t sessions) {
        return gf::detail::counted<type>::of(position, [&](auto& s) {
            std::vector<std::remove_reference_t<decltype(s)>> many(sessions, s);
            gf::step(many, std::vector<gf::token>(sessions, 1));
        });
    };
    sizes const s = of<small>();
    gf::cost const one = batch(0, 1), eight = batch(0, 8);
    // Shared keys are made of all sessions' rows at once: also of the zeros before the first row of all but the first session.
    CHECK(apart(eight.flops, 8 * one.flops + 7 * s.expand().flops) < 1e-3);
    CHECK(apart(eight.cache_bytes, 8 * one.cache_bytes) < 1e-3);
    CHECK(apart(eight.weight_bytes, one.weight_bytes + 7 * 2 * 2 * s.D) < 1e-3);
    check_sums(eight);

    // Full pages are shared: their keys and values are made once, and all sessions attend to them.
    gf::cost const far = batch(4096, 1), forks = batch(4096, 3);
    CHECK(apart(forks.flops - far.flops, 2 * (one.flops + s.G * 4096 * s.pair())) < 0.01);
    CHECK(apart(forks.cache_bytes, far.cache_bytes) < 0.02);
    CHECK(apart(forks.weight_bytes, far.weight_bytes) < 0.01);
}

TEST_CASE("counting takes no time and no memory") {
    auto const peak = [] {
        rusage used{};
        getrusage(RUSAGE_SELF, &used);
        return used.ru_maxrss;  // kB
    };
    auto const start = std::chrono::steady_clock::now();
    long const before = peak();
    CHECK(gf::decode_cost<model<large, gf::compressed_keys<>>>(65536).weight_bytes > 2.5e9);
    CHECK(gf::prefill_cost<model<large, gf::expanded_kv<>>>(4096).flops > 7e12);
    CHECK(peak() - before < 64 << 10);
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(10));
}
