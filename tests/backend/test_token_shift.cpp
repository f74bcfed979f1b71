// SPDX-License-Identifier: Apache-2.0
#include "simd_test.hpp"

TEST_CASE_TEMPLATE("token_shift of any width, alignment and stride", Weight, float, gf::bf16, gf::half) {
    on<gf::simd<Weight>> here;
    each_layout([&](layout const& l) {
        field<float> x(l), y(l), prev({1, l.width, l.offset});
        field<Weight> mu({1, l.width, l.offset});
        gf::kernel::token_shift(here.be, x.rows(), prev[0], mu[0], y.rows());
        CHECK(error(y, [&](std::size_t t, std::size_t i) {
                  double const now = double{x[t][i]}, before = double{t == 0 ? prev[0][i] : x[t - 1][i]};
                  return now + (before - now) * static_cast<double>(mu[0][i]);
              }) < 1e-6);
        CHECK(y.guards_intact());
    });
}

TEST_CASE_TEMPLATE("token_shift against the oracle, on any number of threads, in any split", Weight, float, gf::bf16, gf::half) {
    constexpr std::size_t D = 133, T = 300;
    on<gf::simd<Weight>> here, pair(2);
    on<gf::reference> oracle;
    field<float> x({T, D, 1, 2}), y({T, D, 3, 1}), prev({1, D});
    field<float> z = y, last = prev;
    field<Weight> mu({1, D});
    in_double<D> in(x), before(prev), weight(mu), out(y);
    gf::vector<Weight const, D> const m{mu[0]};
    gf::token_shift(oracle.be, in.sequence(), before.vector(), gf::vector<double const, D>{weight.data()}, out.sequence());
    gf::token_shift(here.be, x.template sequence<D>(), gf::vector<float, D>{prev[0]}, m, y.template sequence<D>());
    CHECK(error(y, out) < 1e-6);
    gf::token_shift(pair.be, x.template sequence<D>(), gf::vector<float, D>{prev[0]}, m, z.template sequence<D>());
    CHECK(z == y);

    z = field<float>({T, D, 3, 1});
    std::size_t at = 0;
    for (std::size_t count : counts{1, 0, 7, 292}) {
        gf::token_shift(here.be, x.template sequence<D>().rows(at, count), gf::vector<float, D>{last[0]}, m, z.template sequence<D>().rows(at, count));
        gf::keep_last(here.be, x.template sequence<D>().rows(at, count), gf::vector<float, D>{last[0]});
        at += count;
    }
    CHECK(at == T);
    CHECK(z == y);
    CHECK(std::equal(last[0], last[0] + D, x[T - 1]));
}
