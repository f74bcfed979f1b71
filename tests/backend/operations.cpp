// SPDX-License-Identifier: Apache-2.0
// Every typed operation of simd against the oracle's, on the same numbers: one function makes the calls on both.
#include <doctest/doctest.h>

#include <goldfinch/backend/operations.hpp>
#include <goldfinch/backend/reference.hpp>
#include <goldfinch/backend/simd.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <list>
#include <map>
#include <random>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "../rounding.hpp"

namespace gf = goldfinch;

namespace {

constexpr std::size_t D = 96, H = 3, N = D / H, R = 32, K = 3, Out = 70, V = 50;

using results = std::map<std::string, std::vector<double>>;

/// A backend at work, and numbers for it. The same calls make the same numbers, such as Stored holds exactly, for every backend.
template <class Backend, class Stored>
class workplace {
public:
    using S = typename Backend::scalar;
    using W = typename Backend::weight;

    Backend const& be() const { return be_; }

    template <std::size_t... E>
    gf::tensor<W const, E...> weights(double scale = 1) {
        auto& memory = weights_.emplace_back((E * ... * 1));
        for (W& w : memory) w = static_cast<W>(number<Stored>(scale));
        return {memory.data()};
    }
    /// T rows, and `gap` elements between them.
    template <std::size_t Width>
    gf::sequence<S, Width> rows(std::size_t T, std::size_t gap = 0, double scale = 1) {
        auto& memory = rows_.emplace_back(T * (Width + gap) + 1);
        for (S& x : memory) x = static_cast<S>(number<float>(scale));
        return {memory.data(), T, Width + gap};
    }
    /// Sequences with so many rows each, and one state tensor each.
    template <std::size_t... E>
    gf::state_tensor<Backend, E...> states(std::vector<std::size_t> const& lengths) {
        auto& b = batches_.emplace_back();
        for (std::size_t i = 0; i < lengths.size(); ++i) {
            b.states.push_back(rows<(E * ... * 1)>(1).data);
            b.first.push_back(b.first.back() + lengths[i]);
            b.position.push_back(100 * i);
        }
        b.view = {lengths.size(), b.states.data(), b.first.data(), b.position.data()};
        return {&b.view, 0};
    }

    /// Keeps what an operation has written.
    template <std::size_t Width>
    void keep(std::string const& name, gf::sequence<S, Width> y) {
        for (std::size_t t = 0; t < y.size; ++t) written[name].insert(written[name].end(), y[t], y[t] + Width);
    }
    template <std::size_t... E>
    void keep(std::string const& name, gf::state_tensor<Backend, E...> s) {
        for (std::size_t i = 0; i < s.of->size; ++i) written[name].insert(written[name].end(), s[i].data, s[i].data + s.size);
    }
    results written;

private:
    template <class T>
    double number(double scale) {
        return static_cast<double>(static_cast<float>(T(static_cast<float>(scale * normal_(engine_)))));
    }
    struct owned_batch {
        std::vector<S*> states;
        std::vector<std::size_t> first{0}, position;
        gf::batch<S> view;
    };

    std::mt19937 engine_{3};
    std::normal_distribution<double> normal_;
    std::list<std::vector<W>> weights_;
    std::list<std::vector<S>> rows_;
    std::list<owned_batch> batches_;
    gf::cpu_runtime runtime_{2};
    gf::cpu_runtime::lease lease_{runtime_};
    Backend be_{lease_.executor()};
};

template <class Backend, class Stored>
results all_operations(std::vector<std::size_t> const& lengths) {
    using S = typename Backend::scalar;
    workplace<Backend, Stored> at;
    auto const& be = at.be();
    std::size_t T = 0;
    for (std::size_t const n : lengths) T += n;
    auto const x = at.template rows<D>(T, 5), fresh = at.template rows<D>(T);

    std::vector<gf::token> ids(T);
    for (std::size_t t = 0; t < T; ++t) ids[t] = static_cast<gf::token>(t * 7 % V);
    embed(be, at.template weights<V, D>(), std::span<gf::token const>(ids), fresh);
    at.keep("embed", fresh);
    copy(be, x, fresh);
    at.keep("copy", fresh);
    clear(be, fresh);
    at.keep("clear", fresh);
    std::vector<float> host(T * D);
    read_rows(be, x, host.data());
    at.written["read_rows"].assign(host.begin(), host.end());

    gf::norm_weights<typename Backend::weight const, D> const norm{at.template weights<D>(), at.template weights<D>()};
    layer_norm(be, norm, x, fresh);
    at.keep("layer_norm", fresh);
    layer_norm(be, norm, fresh, fresh, 6.4e-4, H);
    at.keep("layer_norm of heads, in place", fresh);
    rms_norm(be, x, fresh);
    at.keep("rms_norm", fresh);

    auto const before = at.template states<D>(lengths);
    token_shift(be, x, before, at.template weights<D>(), fresh);
    at.keep("token_shift", fresh);
    auto const other = at.template rows<D>(T), third = at.template rows<D>(T, 3);
    token_shift(be, x, before, {at.template weights<D>(), at.template weights<D>()}, {fresh, other});
    at.keep("two token_shifts", fresh), at.keep("two token_shifts", other);
    auto const h = at.template rows<R>(T);
    auto const hs = at.template rows<K * R>(T, 1);
    token_shift(be, x, before, h, at.template weights<R, D>(0.1), at.template weights<D>(), fresh);
    at.keep("data-dependent token_shift", fresh);
    token_shift(be, x, before, hs, at.template weights<K, R, D>(0.1), {at.template weights<D>(), at.template weights<D>(), at.template weights<D>()},
                {fresh, other, third});
    for (auto const& y : {fresh, other, third}) at.keep("three data-dependent token_shifts", y);
    keep_last(be, x, before);
    at.keep("keep_last", before);

    auto const wide = at.template rows<Out>(T);
    linear(be, at.template weights<Out, D>(0.1), x, wide);
    at.keep("linear", wide);
    lora_down(be, x, at.template weights<D, R>(0.1), h);
    at.keep("lora_down", h);
    lora_up(be, h, at.template weights<R, Out>(0.1), wide);
    at.keep("lora_up", wide);
    lora(be, x, at.template weights<D, R>(0.1), at.template weights<R, Out>(0.1), wide);
    at.keep("lora", wide);
    lora(be, at.template weights<Out>(), x, at.template weights<D, R>(0.1), at.template weights<R, Out>(0.1), wide);
    at.keep("lora on a row", wide);
    copy(be, x, fresh);
    lora(be, fresh, at.template weights<D, R>(0.1), at.template weights<R, D>(0.1), fresh);
    at.keep("lora in place", fresh);

    auto const w = at.template rows<D>(T, 0, 2), k = at.template rows<D>(T), r = at.template rows<D>(T), v = at.template rows<D>(T);
    auto const slow = at.template rows<D>(T, 0, 1);
    transform(be, [](S& z) { z -= 16; }, slow);
    decay(be, slow, k);
    at.keep("decay of slow channels", slow), at.keep("keys of slow channels", k);
    copy(be, x, k);
    decay(be, w, k);
    at.keep("decay", w), at.keep("decay", k);
    auto const wkv = at.template states<H, N, N>(lengths);
    wkv6(be, r, k, v, w, wkv, fresh);
    at.keep("wkv6", fresh);
    wkv6(be, r, k, v, w, at.template weights<H, N>(), wkv, r);
    at.keep("wkv6 with a bonus, in place", r), at.keep("wkv6's state", wkv);

    add(be, x, fresh);
    at.keep("add", fresh);
    sigmoid_gate(be, x, fresh);
    at.keep("sigmoid_gate", fresh);
    silu_gate(be, x, fresh);
    at.keep("silu_gate", fresh);
    relu_squared(be, fresh);
    at.keep("relu_squared", fresh);
    copy(be, x, fresh);
    rope<N>(be, *before.of, fresh, 1e4, 2.0);
    at.keep("rope", fresh);

    auto const heads = at.template rows<H>(T);
    inner_product(be, x, v, heads);
    at.keep("inner_product", heads);
    transform(be, [](S& y, S z, S head, S p, std::array<S, K> const& taps) { y = z * head + p - taps[0] * taps[K - 1]; }, fresh,
              gf::sequence<S const, D>(x), heads, at.template weights<D>(), at.template weights<D, K>());
    at.keep("transform", fresh);
    auto const sum = at.template states<D>(lengths), count = at.template states<D>(lengths);
    scan(be, [](S& s, S& n, S& y, S z, S p) { n += 1, s = s / 2 + z * p, y = s * n; }, sum, count, fresh, gf::sequence<S const, D>(x),
         at.template weights<D>());
    at.keep("scan", fresh), at.keep("scan's states", sum), at.keep("scan's states", count);

    std::vector<float> scales(T);
    std::vector<gf::int8> integers(T * D);
    pack(be, x, gf::sequence<gf::int8, D>{integers.data(), T}, scales.data());
    unpack(be, gf::sequence<gf::int8 const, D>{integers.data(), T}, scales.data(), fresh);
    at.keep("pack", fresh);
    return at.written;
}

/// Largest difference, where the largest expected value is at least 1.
double distance(std::vector<double> const& ours, std::vector<double> const& exact) {
    REQUIRE(ours.size() == exact.size());
    double worst = 0, scale = 1;
    for (std::size_t i = 0; i < ours.size(); ++i) {
        double const d = std::abs(ours[i] - exact[i]);
        worst = d <= worst ? worst : (d == d ? d : HUGE_VAL);
        scale = std::max(scale, std::abs(exact[i]));
    }
    return worst / scale;
}

}  // namespace

TEST_CASE_TEMPLATE("every operation of simd agrees with the oracle's", Stored, float, gf::bf16, gf::half) {
    for (std::vector<std::size_t> const& lengths : {std::vector<std::size_t>{1}, {40}, {3, 1, 0, 17, 1, 1}}) {
        auto const exact = all_operations<gf::reference, Stored>(lengths);
        auto const ours = all_operations<gf::simd<Stored>, Stored>(lengths);
        REQUIRE(exact.size() == 34);
        for (auto const& result : exact) {
            std::string const name = result.first;
            INFO(name, ", ", lengths.size(), " sequences");
            // Rounding to 8 bits takes another way where a number lies between two: one step in 127. Products with bf16 may round many rows of x to 8 bits;
            // low-rank products are added to them.
            bool const of_rounded = std::is_same_v<Stored, gf::bf16> && rounds_to_bf16(gf::instruction_set()) && lengths.front() > 32 &&
                                    (name == "linear" || name == "lora" || name == "lora_up");
            CHECK(distance(ours.at(name), result.second) <= (name == "pack" ? 1.0 / 127 : of_rounded ? 4e-3 : 4e-6));
        }
        // 1 - w of a slow channel keeps its digits.
        for (std::size_t i = 0; i < exact.at("keys of slow channels").size(); ++i) {
            double const key = exact.at("keys of slow channels")[i];
            CHECK(std::abs(ours.at("keys of slow channels")[i] - key) <= 3e-6 * std::abs(key));
        }
    }
}

static_assert(gf::detail::checked_backend<gf::reference> && gf::detail::checked_backend<gf::simd<float>> && gf::detail::checked_backend<gf::simd<gf::half>>);
