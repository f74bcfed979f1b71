// SPDX-License-Identifier: Apache-2.0
#include "simd_test.hpp"

namespace {

float const extremes[] = {-INFINITY, -3e38f, -1000, -104, -103, -89, -88, -87, -50, -20, -17, -1, -1e-8f, -1e-40f, 0, 1e-40f, 1e-8f,
                          0.5f,      1,      4,     4.6f, 5,    10,  17,  50,  87,  88,  89,  103,    1000,    3e38f, INFINITY};
constexpr std::size_t n_extremes = std::size(extremes);

// f(x, y) in float for every layout, and e(x, y) in double.
template <class F, class E>
void sweep(F const& f, E const& expected, double bound) {
    on<gf::simd<float>> here;
    each_layout([&](layout const& l) {
        field<float> x(l, 4), y(l, 4);
        field<float> const before = y;
        gf::kernel::combine(here.be, x.rows(), y.rows(), f);
        CHECK(error(y, [&](std::size_t t, std::size_t i) { return expected(double{x[t][i]}, double{before[t][i]}); }) < bound);
        CHECK(y.guards_intact());
    });
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// An operation in place on 1, 2 and 3 threads, against the oracle's.
template <class F>
void against_oracle(float scale, double bound, F const& f) {
    constexpr std::size_t D = 131;
    on<gf::simd<float>> here, pair(2), three(3);
    on<gf::reference> oracle;
    field<float> x({300, D, 1, 2}, scale), y({300, D, 3, 1}, scale);
    field<float> const start = y;
    in_double<D> in(x), out(y);
    f(here.be, x.sequence<D>(), y.sequence<D>());
    f(oracle.be, in.sequence(), out.sequence());
    CHECK(error(y, out) < bound);
    CHECK(y.guards_intact());
    for (auto* other : {&pair, &three}) {
        field<float> z = start;
        f(other->be, x.sequence<D>(), z.sequence<D>());
        CHECK(z == y);
    }
}

}  // namespace

TEST_CASE("elementwise operations of any width, alignment and stride") {
    sweep(gf::kernel::plus{}, [](double x, double y) { return x + y; }, 1e-6);
    sweep(gf::kernel::times_one_minus{}, [](double w, double k) { return k * (1 - w); }, 1e-6);
    sweep(gf::kernel::squared_if_positive{}, [](double, double x) { return x > 0 ? x * x : 0; }, 1e-6);
    sweep(gf::kernel::decay_of{}, [](double, double w) { return std::exp(-std::exp(w)); }, 1e-6);
    sweep(gf::kernel::times_sigmoid{}, [](double g, double x) { return sigmoid(g) * x; }, 1e-6);
    sweep(gf::kernel::times_silu{}, [](double g, double x) { return g * sigmoid(g) * x; }, 1e-6);
}

TEST_CASE("elementwise operations against the oracle, on any number of threads") {
    against_oracle(1, 1e-6, [](auto const& be, auto x, auto y) { add(be, x, y); });
    against_oracle(1, 1e-6, [](auto const& be, auto x, auto y) { scale_by_one_minus(be, x, y); });
    against_oracle(1, 1e-6, [](auto const& be, auto, auto y) { relu_squared(be, y); });
    against_oracle(5, 1e-6, [](auto const& be, auto, auto y) { decay(be, y); });
    against_oracle(20, 1e-6, [](auto const& be, auto x, auto y) { sigmoid_gate(be, x, y); });
    against_oracle(20, 1e-6, [](auto const& be, auto x, auto y) { silu_gate(be, x, y); });
    against_oracle(1, 1e-30, [](auto const& be, auto x, auto y) { copy(be, x, y); });
    against_oracle(1, 1e-6, [](auto const& be, auto x, auto y) { concat(be, x.template channels<5, 60>(), x.template channels<60, 71>(), y); });
}

TEST_CASE("decay and gates at the ends of their range") {
    on<gf::simd<float>> here;
    field<float> w({1, n_extremes}), gate({1, n_extremes}), x({1, n_extremes}), silu({1, n_extremes});
    for (std::size_t i = 0; i < n_extremes; ++i) w[0][i] = gate[0][i] = extremes[i], x[0][i] = 3, silu[0][i] = 1;
    decay(here.be, w.sequence<n_extremes>());
    CHECK(error(w, [](std::size_t, std::size_t i) { return std::exp(-std::exp(double{extremes[i]})); }) < 2e-7);
    CHECK(w[0][0] == 1);
    CHECK(w[0][n_extremes - 1] == 0);
    sigmoid_gate(here.be, gate.sequence<n_extremes>(), x.sequence<n_extremes>());
    CHECK(error(x, [](std::size_t, std::size_t i) { return 3 * sigmoid(double{extremes[i]}); }) < 2e-7);
    silu_gate(here.be, gate.sequence<n_extremes>(), silu.sequence<n_extremes>());
    for (std::size_t i = 1; i + 1 < n_extremes; ++i)
        CHECK(silu[0][i] == doctest::Approx(double{extremes[i]} * sigmoid(double{extremes[i]})).epsilon(1e-6));
    for (int i = -200; i <= 100; ++i) {  // w = -20 .. +10
        gf::aligned_vector<float> one(1, static_cast<float>(i) / 10);
        double const exact = std::exp(-std::exp(double{one[0]}));
        decay(here.be, gf::sequence<float, 1>{one.data(), 1});
        CHECK(std::abs(double{one[0]} - exact) < 1e-6 * exact + 1e-7);
    }
}

TEST_CASE("NaN passes through") {
    on<gf::simd<float>> here;
    field<float> x({1, 37}), y({1, 37});
    auto const all_nan = [&](auto const& f) {
        std::fill_n(x[0], 37, NAN), std::fill_n(y[0], 37, NAN);
        f(x.sequence<37>(), y.sequence<37>());
        return std::all_of(y[0], y[0] + 37, [](float v) { return std::isnan(v); });
    };
    CHECK(all_nan([&](auto, auto b) { relu_squared(here.be, b); }));
    CHECK(all_nan([&](auto, auto b) { decay(here.be, b); }));
    CHECK(all_nan([&](auto a, auto b) {
        std::fill_n(b.data, 37, 1.0f);
        sigmoid_gate(here.be, a, b);
    }));
}

TEST_CASE_TEMPLATE("rows: embed, repeat_row, concat, copy", Weight, float, gf::bf16, gf::half) {
    constexpr std::size_t V = 50, D = 45;
    on<gf::simd<Weight>> here, pair(2);
    on<gf::reference> oracle;
    field<Weight> table({V, D, 1});
    in_double<D> rows(table);
    std::vector<gf::token> tokens(900);
    for (std::size_t t = 0; t < tokens.size(); ++t) tokens[t] = static_cast<gf::token>(t * 31 % V);
    field<float> y({900, D, 3, 2}), z = y;
    in_double<D> out(y);
    gf::embed(here.be, gf::matrix<Weight const, V, D>{table[0]}, tokens, y.template sequence<D>());
    gf::embed(pair.be, gf::matrix<Weight const, V, D>{table[0]}, tokens, z.template sequence<D>());
    gf::embed(oracle.be, gf::matrix<double const, V, D>{rows.data()}, tokens, out.sequence());
    CHECK(error(y, out) == 0);
    CHECK(z == y);
    CHECK(y.guards_intact());

    gf::repeat_row(here.be, gf::vector<Weight const, D>{table[3]}, y.template sequence<D>());
    CHECK(error(y, [&](std::size_t, std::size_t i) { return rows(3, i); }) == 0);
    CHECK(y.guards_intact());

    field<float> a({9, 20, 1, 1}), joined({9, 20 + D, 1, 1});
    gf::concat(here.be, a.template sequence<20>(), table.template sequence<D>().first(9), joined.template sequence<20 + D>());
    CHECK(error(joined, [&](std::size_t t, std::size_t i) { return i < 20 ? double{a[t][i]} : rows(t, i - 20); }) == 0);
    CHECK(joined.guards_intact());

    std::vector<float> host(9 * 20);
    gf::read(here.be, a.template sequence<20>(), host.data());
    CHECK(error(a, [&](std::size_t t, std::size_t i) { return double{host[t * 20 + i]}; }) == 0);

    field<float> moved({9, 20}), original = moved;  // rows move down in place
    gf::copy(here.be, moved.template sequence<20>().from(2), moved.template sequence<20>().first(7));
    CHECK(std::equal(moved[0], moved[7], original[2]));
}
