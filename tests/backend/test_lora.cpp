// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include <goldfinch/backend/reference.hpp>
#include <goldfinch/backend/simd/lora.hpp>

#include "products.hpp"

namespace gf = goldfinch;
using gf::kernel::lanes;

namespace {

/// y = x w for w stored [depth, out].
template <class Weight>
bool holds(std::size_t depth, std::size_t out, std::size_t tokens, std::size_t offset = 1) {
    return products::holds<Weight>(
        depth, out, tokens, offset, [out](std::size_t k, std::size_t o) { return k * out + o; },
        [=](auto const& be, Weight const* w, float const* x, std::size_t x_stride, float* y, std::size_t y_stride) {
            auto const copy = [=](std::size_t t, std::size_t i, float const* sums, std::size_t n) { std::copy_n(sums, n, y + t * y_stride + i); };
            gf::kernel::product(be, tokens, x, x_stride, w, depth, out, gf::kernel::row_sink(copy));
        });
}

/// The three operations on one set of inputs, `tokens` rows.
template <class Weight, std::size_t D, std::size_t R>
void agrees_with_reference(std::size_t tokens) {
    products::workplace<Weight> place(2);
    gf::reference const oracle(place.lease.executor());
    constexpr std::size_t h_stride = 2 * R + 1, x_stride = D + 3;
    products::values<Weight> const w1(D * R, 1, 1), w2(R * D, 3, 2), mu(D, 1, 3);
    products::values<float> const x(tokens * x_stride, 1, 4), prev(D, 1, 5);
    products::values<float> h(tokens * h_stride, 1, 6), y(tokens * D, 1, 7), shifted(tokens * D, 1, 8);
    auto const dw1 = products::to_double(w1.data(), D * R), dw2 = products::to_double(w2.data(), R * D), dmu = products::to_double(mu.data(), D);
    auto const dx = products::to_double(x.data(), tokens * x_stride), dprev = products::to_double(prev.data(), D);
    std::vector<double> dh(tokens * h_stride), dy = products::to_double(y.data(), tokens * D), dshifted(tokens * D);
    auto const close = [](double want, float got, double size) { return std::abs(want - static_cast<double>(got)) <= products::bound * size; };

    gf::lora_down(place.be, {x.data(), tokens, x_stride}, gf::matrix<Weight const, D, R>{w1.data()}, {h.data(), tokens, h_stride});
    gf::lora_down(oracle, {dx.data(), tokens, x_stride}, gf::matrix<double const, D, R>{dw1.data()}, {dh.data(), tokens, h_stride});
    for (std::size_t t = 0; t < tokens; ++t)
        for (std::size_t i = 0; i < R; ++i) CHECK(close(dh[t * h_stride + i], h[t * h_stride + i], D));

    dh = products::to_double(h.data(), tokens * h_stride);
    gf::lora_up(place.be, {h.data(), tokens, h_stride}, gf::matrix<Weight const, R, D>{w2.data()}, {y.data(), tokens});
    gf::lora_up(oracle, {dh.data(), tokens, h_stride}, gf::matrix<double const, R, D>{dw2.data()}, {dy.data(), tokens});
    gf::token_shift(place.be, {x.data(), tokens, x_stride}, {prev.data()}, {mu.data()}, {h.data(), tokens, h_stride},
                    gf::matrix<Weight const, R, D>{w2.data()}, {shifted.data(), tokens});
    gf::token_shift(oracle, {dx.data(), tokens, x_stride}, {dprev.data()}, {dmu.data()}, {dh.data(), tokens, h_stride},
                    gf::matrix<double const, R, D>{dw2.data()}, {dshifted.data(), tokens});
    for (std::size_t i = 0; i < tokens * D; ++i) {
        CHECK(close(dy[i], y[i], R + 1));
        CHECK(close(dshifted[i], shifted[i], 2 * R + 2));
    }
}

}  // namespace

TEST_CASE_TEMPLATE("lora products: every remainder of columns, depth and tokens", Weight, float, gf::bf16, gf::half) {
    for (std::size_t tokens = 0; tokens <= 2 * gf::kernel::tile_rows + 1; ++tokens)
        for (std::size_t depth : products::sizes{1, 3, 33}) CHECK_MESSAGE(holds<Weight>(depth, 21, tokens), "depth " << depth << " tokens " << tokens);
    for (std::size_t out = 1; out <= 2 * gf::kernel::panel_width + 1; out += out < lanes ? 1 : 3)
        for (std::size_t tokens : products::sizes{1, 2, 3, 13}) CHECK_MESSAGE(holds<Weight>(19, out, tokens, out), "out " << out << " tokens " << tokens);
    for (std::size_t depth = 1; depth <= 2 * lanes + 1; ++depth)
        for (std::size_t tokens : products::sizes{1, 9}) CHECK_MESSAGE(holds<Weight>(depth, 40, tokens, depth), "depth " << depth << " tokens " << tokens);
}

TEST_CASE_TEMPLATE("lora products: several blocks of every extent", Weight, float, gf::bf16) {
    CHECK(holds<Weight>(1100, 170, 3));
    CHECK(holds<Weight>(1100, 170, 40));
    CHECK(holds<Weight>(40, 300, 210));
}

TEST_CASE("lora operations agree with the reference") {
    agrees_with_reference<float, 96, 10>(1);
    agrees_with_reference<gf::bf16, 70, 32>(4);
    agrees_with_reference<gf::half, 130, 8>(29);
    agrees_with_reference<float, 34, 5>(0);
}

TEST_CASE("tanh is right to 3 units in the last place, everywhere") {
    products::workplace<float> place(1);
    using limits = std::numeric_limits<float>;
    std::vector<float> special{0.0f, -0.0f, limits::denorm_min(), 1e-40f, limits::min(), 1e-20f, 20.0f, -88.0f, 1e30f, limits::max(), limits::infinity()};
    for (float v = -12; v < 12; v += 0.00137f) special.push_back(v);
    float const one = 1;
    for (float const v : special) {
        float h = 0;
        gf::lora_down(place.be, {&v, 1}, gf::matrix<float const, 1, 1>{&one}, {&h, 1});
        double const want = std::tanh(static_cast<double>(v));
        double const unit = std::max(std::abs(want) * 0x1p-23, static_cast<double>(limits::denorm_min()));
        CHECK_MESSAGE(std::abs(static_cast<double>(h) - want) <= 3 * unit, "tanh(" << v << ") = " << h);
    }
}
