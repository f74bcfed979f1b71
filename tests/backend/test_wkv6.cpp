// SPDX-License-Identifier: Apache-2.0
#include "simd_test.hpp"

namespace {

struct inputs {
    inputs(layout const& l, std::size_t heads, std::size_t n)
        : r(l), k(l), v(l), w(l), y(l), u({1, heads * n, l.offset}), state({heads, n * n, l.offset}) {
        for (std::size_t t = 0; t < l.size; ++t)
            for (std::size_t i = 0; i < l.width; ++i) w[t][i] = std::exp(-std::exp(w[t][i]));
    }
    field<float> r, k, v, w, y, u, state;
};

// The recurrence in double, straight from its definition.
void recurrence(inputs const& in, std::size_t heads, std::size_t n, bool bonus, std::vector<double>& y, std::vector<double>& state) {
    y.assign(in.r.size() * heads * n, 0);
    for (std::size_t h = 0; h < heads; ++h)
        for (std::size_t i = 0; i < n; ++i)
            for (std::size_t j = 0; j < n; ++j) {
                double s = double{in.state[h][i * n + j]};
                std::size_t const c = h * n + i;
                for (std::size_t t = 0; t < in.r.size(); ++t) {
                    double const kv = double{in.k[t][c]} * double{in.v[t][h * n + j]};
                    y[t * heads * n + h * n + j] += double{in.r[t][c]} * (s + (bonus ? double{in.u[0][c]} * kv : 0));
                    s = double{in.w[t][c]} * s + kv;
                }
                state[(h * n + i) * n + j] = s;
            }
}

void run(gf::cpu_executor const& be, inputs& in, std::size_t heads, std::size_t n, bool bonus, bool in_place) {
    auto y = in_place ? in.r.rows() : in.y.rows();
    gf::kernel::wkv6(be, heads, n, in.r.rows(), in.k.rows(), in.v.rows(), in.w.rows(), bonus ? in.u[0] : nullptr, in.state[0], y);
}

}  // namespace

TEST_CASE("wkv6 of any head size, alignment and stride, with and without bonus, in place") {
    on<gf::simd<float>> here;
    for (std::size_t n = 1; n <= 5 * gf::kernel::lanes + 1; ++n)
        for (std::size_t heads : counts{1, 3})
            for (std::size_t size : counts{0, 1, 5, 33})
                for (bool const odd : {false, true}) {
                    inputs in({size, heads * n, odd ? 1u : 0u, odd ? 3u : 0u}, heads, n);
                    std::vector<double> y, state(heads * n * n);
                    recurrence(in, heads, n, odd, y, state);
                    bool const in_place = n % 2 == 0;
                    run(here.be, in, heads, n, odd, in_place);
                    auto& out = in_place ? in.r : in.y;
                    CHECK(error(out, [&](std::size_t t, std::size_t i) { return y[t * heads * n + i]; }) < 2e-5);
                    CHECK(error(in.state, [&](std::size_t h, std::size_t i) { return state[h * n * n + i]; }) < 2e-6);
                    CHECK(out.guards_intact());
                    CHECK(in.state.guards_intact());
                }
}

TEST_CASE_TEMPLATE("wkv6 against the oracle", Weight, float, gf::bf16, gf::half) {
    constexpr std::size_t H = 3, N = 40, D = H * N, T = 77;
    on<gf::simd<Weight>> here;
    on<gf::reference> oracle;
    inputs in({T, D, 1, 2}, H, N);
    field<Weight> u({1, D});
    in_double<D> r(in.r), k(in.k), v(in.v), w(in.w), y(in.y), bonus(u);
    in_double<N * N> state(in.state);
    bool with_bonus = false;
    SUBCASE("without bonus") {
        gf::wkv6(oracle.be, r.sequence(), k.sequence(), v.sequence(), w.sequence(), gf::tensor<double, H, N, N>{state.data()}, y.sequence());
    }
    SUBCASE("with bonus") {
        with_bonus = true;
        gf::wkv6(oracle.be, r.sequence(), k.sequence(), v.sequence(), w.sequence(), gf::matrix<double const, H, N>{bonus.data()},
                 gf::tensor<double, H, N, N>{state.data()}, y.sequence());
    }
    gf::tensor<float, H, N, N> const s{in.state[0]};
    auto const sequence = [](auto& x) { return x.template sequence<D>(); };
    if (with_bonus)
        gf::wkv6(here.be, sequence(in.r), sequence(in.k), sequence(in.v), sequence(in.w), gf::matrix<Weight const, H, N>{u[0]}, s, sequence(in.y));
    else
        gf::wkv6(here.be, sequence(in.r), sequence(in.k), sequence(in.v), sequence(in.w), s, sequence(in.y));
    CHECK(error(in.y, y) < 2e-5);
    CHECK(error(in.state, state) < 2e-6);
}

TEST_CASE("wkv6 is bit-equal for any number of threads and any split of the tokens") {
    for (std::size_t heads : counts{1, 2, 5})
        for (std::size_t n : counts{64, 100})
            for (bool const in_place : {false, true}) {
                constexpr std::size_t T = 70;
                on<gf::simd<float>> here;
                inputs const start({T, heads * n, 1, 2}, heads, n);
                inputs one = start;
                run(here.be, one, heads, n, true, in_place);
                for (std::size_t threads : counts{2, 3}) {
                    on<gf::simd<float>> others(threads);
                    inputs many = start;
                    run(others.be, many, heads, n, true, in_place);
                    CHECK(many.y == one.y);
                    CHECK(many.r == one.r);
                    CHECK(many.state == one.state);
                }
                inputs split = start;
                std::size_t at = 0;
                for (std::size_t count : counts{1, 16, 0, 40, 13}) {
                    auto const part = [&](field<float>& x) { return gf::kernel::rows<float>(x[at], count, heads * n + 2, heads * n); };
                    gf::kernel::wkv6(here.be, heads, n, part(split.r), part(split.k), part(split.v), part(split.w), split.u[0], split.state[0],
                                     part(in_place ? split.r : split.y));
                    at += count;
                }
                CHECK(at == T);
                CHECK(split.y == one.y);
                CHECK(split.r == one.r);
                CHECK(split.state == one.state);
            }
}
