// SPDX-License-Identifier: Apache-2.0
#include "kernel_test.hpp"

#include <cstdint>

namespace {

float const extremes[] = {-INFINITY, -3e38f, -1000, -104, -103, -89, -88, -87, -50, -20, -17, -1, -1e-8f, -1e-40f, 0,     1e-40f,
                          1e-8f,     0.5f,   1,     4,    4.6f, 5,   10,  17,  50,  87,  88,  89, 103,    1000,    3e38f, INFINITY};
constexpr std::size_t n_extremes = std::size(extremes);

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// A kernel f(table, at, x, y) that makes y of x and y, for every layout, and on 1, 2 and 3 threads; e(x, y) in double.
template <class F, class E>
void sweep(F const& f, E const& expected, double bound = 1e-6, float scale = 4) {
    static on one, two(2), three(3);
    each_set([&](kernel_table const& table) {
        auto const check = [&](layout const& l) {
            field<float> x(l, scale), y(l, scale);
            field<float> const before = y;
            f(table, one.be, x, y);
            CHECK(error(y, [&](std::size_t t, std::size_t i) { return expected(static_cast<double>(x[t][i]), static_cast<double>(before[t][i])); }) <
                  bound);
            CHECK(y.guards_intact());
            if (l.size > 3)
                for (on* other : {&two, &three}) {
                    field<float> z = before;
                    f(table, other->be, x, z);
                    CHECK(z == y);
                }
        };
        each_layout(check);
        check({300, 131, 3, 1});
    });
}

}  // namespace

TEST_CASE("elementwise kernels of any width, alignment and stride") {
    using at = gf::cpu_executor const&;
    using from = rows<float const>;
    using to = rows<float>;
    sweep([](auto const& k, at a, from x, to y) { k.add(a, x, y); }, [](double x, double y) { return x + y; });
    sweep([](auto const& k, at a, from, to y) { k.relu_squared(a, y); }, [](double, double x) { return x > 0 ? x * x : 0; });
    sweep([](auto const& k, at a, from, to y) { k.decay(a, y); }, [](double, double w) { return std::exp(-std::exp(w)); });
    sweep([](auto const& k, at a, from x, to y) { k.sigmoid_gate(a, x, y); }, [](double g, double x) { return sigmoid(g) * x; });
    sweep([](auto const& k, at a, from x, to y) { k.silu_gate(a, x, y); }, [](double g, double x) { return g * sigmoid(g) * x; });
    sweep([](auto const& k, at a, from x, to y) { k.silu_gate(a, x, y); }, [](double g, double x) { return g * sigmoid(g) * x; }, 1e-6, 20);
}

TEST_CASE("decay_scaling of any width, alignment and stride") {
    on one, three(3);
    each_set([&](kernel_table const& table) {
        auto const check = [&](layout const& l) {
            field<float> w(l, 4), k({l.size, l.width, l.offset + 1, 2});
            field<float> const z = w, before = k;
            table.decay_scaling(one.be, w, k);
            CHECK(error(w, [&](std::size_t t, std::size_t i) { return std::exp(-std::exp(static_cast<double>(z[t][i]))); }) < 1e-6);
            CHECK(error(k, [&](std::size_t t, std::size_t i) {
                      return static_cast<double>(before[t][i]) * -std::expm1(-std::exp(static_cast<double>(z[t][i])));
                  }) < 1e-6);
            CHECK(w.guards_intact());
            CHECK(k.guards_intact());
            field<float> w3 = z, k3 = before;
            table.decay_scaling(three.be, w3, k3);
            CHECK(w3 == w);
            CHECK(k3 == k);
        };
        each_layout(check);
        check({300, 131, 3, 1});
    });
}

TEST_CASE("decay_scaling loses nothing where decays are slow") {
    on here;
    constexpr std::size_t n = 35001;
    each_set([&](kernel_table const& table) {
        field<float> w({1, n}), k({1, n});
        for (std::size_t i = 0; i < n; ++i) w[0][i] = -30 + static_cast<float>(i) * 0.001f, k[0][i] = 1;
        field<float> const z = w;
        table.decay_scaling(here.be, w, k);
        double worst = 0;
        for (std::size_t i = 0; i < n; ++i) {
            double const exact = -std::expm1(-std::exp(static_cast<double>(z[0][i])));
            worst = std::max(worst, std::abs(static_cast<double>(k[0][i]) - exact) / exact);
        }
        CHECK(worst < 1e-6);
        w[0][0] = -INFINITY, w[0][1] = INFINITY, k[0][0] = k[0][1] = 1;
        table.decay_scaling(here.be, {w[0], 1, 2, 2}, {k[0], 1, 2, 2});
        CHECK(w[0][0] == 1);
        CHECK(k[0][0] == 0);
        CHECK(w[0][1] == 0);
        CHECK(k[0][1] == 1);
    });
}

TEST_CASE("decay and gates at the ends of their range") {
    on here;
    each_set([&](kernel_table const& table) {
        field<float> w({1, n_extremes}), gate({1, n_extremes}), x({1, n_extremes}), silu({1, n_extremes});
        for (std::size_t i = 0; i < n_extremes; ++i) w[0][i] = gate[0][i] = extremes[i], x[0][i] = 3, silu[0][i] = 1;
        auto const extreme = [](std::size_t i) { return static_cast<double>(extremes[i]); };
        table.decay(here.be, w);
        CHECK(error(w, [&](std::size_t, std::size_t i) { return std::exp(-std::exp(extreme(i))); }) < 2e-7);
        CHECK(w[0][0] == 1);
        CHECK(w[0][n_extremes - 1] == 0);
        table.sigmoid_gate(here.be, gate, x);
        CHECK(error(x, [&](std::size_t, std::size_t i) { return 3 * sigmoid(extreme(i)); }) < 2e-7);
        table.silu_gate(here.be, gate, silu);
        for (std::size_t i = 1; i + 1 < n_extremes; ++i)
            CHECK(static_cast<double>(silu[0][i]) == doctest::Approx(extreme(i) * sigmoid(extreme(i))).epsilon(1e-6));
        for (int i = -200; i <= 100; ++i) {  // w = -20 .. +10
            float one = static_cast<float>(i) / 10;
            double const exact = std::exp(-std::exp(static_cast<double>(one)));
            table.decay(here.be, {&one, 1, 1, 1});
            CHECK(std::abs(static_cast<double>(one) - exact) < 1e-6 * exact + 1e-7);
        }
    });
}

TEST_CASE("NaN passes through") {
    on here;
    each_set([&](kernel_table const& table) {
        auto const all_nan = [&](auto const& f) {
            field<float> x({1, 37}), y({1, 37});
            std::fill_n(x[0], 37, NAN), std::fill_n(y[0], 37, NAN);
            f(x, y);
            return std::all_of(y[0], y[0] + 37, [](float v) { return std::isnan(v); });
        };
        CHECK(all_nan([&](auto&, auto& y) { table.relu_squared(here.be, y); }));
        CHECK(all_nan([&](auto&, auto& y) { table.decay(here.be, y); }));
        CHECK(all_nan([&](auto& x, auto& y) {
            std::fill_n(y[0], 37, 1.0f);
            table.decay_scaling(here.be, x, y);
        }));
        CHECK(all_nan([&](auto& x, auto& y) {
            std::fill_n(y[0], 37, 1.0f);
            table.sigmoid_gate(here.be, x, y);
        }));
    });
}

TEST_CASE_TEMPLATE("widen: every value, width, alignment and stride", T, float, gf::bf16, gf::half) {
    on here, three(3);
    each_set([&](kernel_table const& table) {
        each_layout([&](layout const& l) {
            field<T> const source(l);
            field<float> y({l.size, l.width, l.offset + 1, 2});
            std::vector<T const*> from(l.size);
            for (std::size_t t = 0; t < l.size; ++t) from[t] = source[l.size - 1 - t];
            weights<T>(table).widen(here.be, from.data(), y);
            CHECK(error(y, [&](std::size_t t, std::size_t i) { return static_cast<double>(static_cast<float>(from[t][i])); }) == 0);
            CHECK(y.guards_intact());
        });
        field<T> all({4, 16384 + 3});
        if constexpr (sizeof(T) == 2)
            for (std::size_t i = 0; i < 65536; ++i) all[i / 16384][i % 16384].bits = static_cast<std::uint16_t>(i);
        T const* const from[] = {all[0], all[1], all[2], all[3]};
        field<float> y({4, 16384 + 3}), z = y;
        weights<T>(table).widen(here.be, from, y);
        weights<T>(table).widen(three.be, from, z);
        CHECK(z == y);
        bool same = true;
        for (std::size_t t = 0; t < 4; ++t)
            for (std::size_t i = 0; i < y.width(); ++i) {
                float const x = static_cast<float>(all[t][i]);
                same = same && (y[t][i] == x || (std::isnan(x) && std::isnan(y[t][i])));
            }
        CHECK(same);
    });
}
