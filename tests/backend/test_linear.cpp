// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include <goldfinch/backend/reference.hpp>
#include <goldfinch/backend/simd/linear.hpp>

#include "products.hpp"

namespace gf = goldfinch;
using gf::kernel::lanes;

namespace {

/// y = w x for w stored [out, in].
template <class Weight>
bool holds(std::size_t out, std::size_t in, std::size_t tokens, std::size_t offset = 1) {
    return products::holds<Weight>(
        in, out, tokens, offset, [in](std::size_t k, std::size_t o) { return o * in + k; },
        [=](auto const& be, Weight const* w, float const* x, std::size_t x_stride, float* y, std::size_t y_stride) {
            gf::kernel::linear(be, w, out, in, x, x_stride, y, y_stride, tokens);
        });
}

template <class Weight, std::size_t Out, std::size_t In>
void agrees_with_reference(std::size_t tokens) {
    products::workplace<Weight> place(2);
    products::values<Weight> const w(Out * In, 0, 4);
    products::values<float> const x(tokens * (In + 3), 0, 5);
    products::values<float> y(tokens * Out, 0, 6);
    gf::linear(place.be, gf::matrix<Weight const, Out, In>{w.data()}, {x.data(), tokens, In + 3}, {y.data(), tokens});
    auto const dw = products::to_double(w.data(), Out * In), dx = products::to_double(x.data(), tokens * (In + 3));
    std::vector<double> dy(tokens * Out);
    gf::linear(gf::reference(place.lease.executor()), gf::matrix<double const, Out, In>{dw.data()}, {dx.data(), tokens, In + 3}, {dy.data(), tokens});
    for (std::size_t i = 0; i < dy.size(); ++i) CHECK(std::abs(dy[i] - static_cast<double>(y[i])) <= products::bound * In);
}

}  // namespace

TEST_CASE_TEMPLATE("linear: every remainder of rows, depth and tokens", Weight, float, gf::bf16, gf::half) {
    for (std::size_t tokens = 0; tokens <= 2 * gf::kernel::panel_width + 3; tokens += tokens < 10 ? 1 : 3)
        for (std::size_t in = 1; in <= 2 * lanes + 1; in += 4) CHECK_MESSAGE(holds<Weight>(7, in, tokens), "in " << in << " tokens " << tokens);
    for (std::size_t out = 1; out <= 2 * gf::kernel::tile_rows + 1; ++out)
        for (std::size_t tokens : products::sizes{1, 3, 9, 33}) CHECK_MESSAGE(holds<Weight>(out, 35, tokens, out), "out " << out << " tokens " << tokens);
    for (std::size_t in = 1; in <= 2 * lanes + 1; ++in)
        for (std::size_t tokens : products::sizes{1, 2, 4, 11}) CHECK_MESSAGE(holds<Weight>(5, in, tokens, in), "in " << in << " tokens " << tokens);
}

TEST_CASE_TEMPLATE("linear: several blocks of every extent", Weight, float, gf::bf16) {
    CHECK(holds<Weight>(130, 1100, 3));   // blocks of rows for few tokens
    CHECK(holds<Weight>(130, 1100, 40));  // blocks of depth
    CHECK(holds<Weight>(26, 40, 530));    // blocks of tokens, and a remainder with few
    CHECK(holds<Weight>(2, 34, 1));
    CHECK(holds<Weight>(2, 34, 300));
    CHECK(holds<Weight>(500, 9, 70));
}

TEST_CASE_TEMPLATE("linear: rows do not depend on their neighbours", Weight, float, gf::bf16) {
    constexpr std::size_t out = 31, in = 600;
    products::workplace<Weight> place(1);
    products::values<Weight> const w(out * in, 0, 7);
    products::values<float> const x(40 * in, 0, 8);
    for (std::size_t tokens : products::sizes{1, 4, 40}) {
        products::values<float> all(tokens * out, 0, 9), part = all;
        gf::kernel::linear(place.be, w.data(), out, in, x.data(), in, all.data(), out, tokens);
        for (std::size_t first : products::sizes{5, 30}) {
            gf::kernel::linear(place.be, w.data() + first * in, out - first, in, x.data(), in, part.data() + first, out, tokens);
            for (std::size_t t = 0; t < tokens; ++t) CHECK(std::equal(all.data() + t * out + first, all.data() + (t + 1) * out, part.data() + t * out + first));
        }
    }
}

TEST_CASE("linear agrees with the reference") {
    agrees_with_reference<float, 48, 96>(1);
    agrees_with_reference<gf::bf16, 2, 34>(5);
    agrees_with_reference<gf::half, 70, 130>(37);
}
