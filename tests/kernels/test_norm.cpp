// SPDX-License-Identifier: Apache-2.0
#include "kernel_test.hpp"

namespace {

// LayerNorm of one group in double.
template <class T>
std::vector<double> normalized(T const* weight, T const* bias, float const* x, std::size_t n, double eps) {
    double mean = 0, variance = 0;
    for (std::size_t i = 0; i < n; ++i) mean += static_cast<double>(x[i]) / static_cast<double>(n);
    for (std::size_t i = 0; i < n; ++i) variance += (static_cast<double>(x[i]) - mean) * (static_cast<double>(x[i]) - mean) / static_cast<double>(n);
    std::vector<double> y(n);
    for (std::size_t i = 0; i < n; ++i)
        y[i] = (static_cast<double>(x[i]) - mean) / std::sqrt(variance + eps) * static_cast<double>(static_cast<float>(weight[i])) +
               static_cast<double>(static_cast<float>(bias[i]));
    return y;
}

}  // namespace

TEST_CASE_TEMPLATE("layer_norm of any width, alignment and stride", T, float, gf::bf16, gf::half) {
    on here;
    each_set([&](kernel_table const& table) {
        each_layout([&](layout const& l) {
            for (std::size_t groups : counts{1, 3}) {
                layout const wide{l.size, l.width * groups, l.offset, l.gap};
                field<float> const x(wide);
                field<float> source = x, y(wide);
                field<T> const weight({1, wide.width, l.offset}), bias({1, wide.width, l.offset});
                weights<T>(table).layer_norm(here.be, weight[0], bias[0], x, y, 1e-5f, groups);
                auto const expected = [&](std::size_t t, std::size_t i) {
                    std::size_t const first = i / l.width * l.width;
                    return normalized(weight[0] + first, bias[0] + first, x[t] + first, l.width, 1e-5)[i - first];
                };
                CHECK(error(y, expected) < 2e-6);
                CHECK(y.guards_intact());
                rows<float> const in_place = source;
                weights<T>(table).layer_norm(here.be, weight[0], bias[0], in_place, in_place, 1e-5f, groups);
                CHECK(source.guards_intact());
                bool same = true;
                for (std::size_t t = 0; t < l.size; ++t) same = same && std::equal(y[t], y[t] + wide.width, source[t]);
                CHECK(same);
            }
        });
    });
}

TEST_CASE("layer_norm keeps its accuracy far from zero") {
    on here;
    each_set([&](kernel_table const& table) {
        for (float offset : {0.0f, 10.0f, 1e3f, -1e5f, 3e7f}) {
            field<float> x({4, 777}), y({4, 777}), weight({1, 777}), bias({1, 777});
            for (std::size_t t = 0; t < 4; ++t)
                for (std::size_t i = 0; i < 777; ++i)
                    x[t][i] = x[t][i] * (t == 3 && std::abs(offset) < 1e6f ? 0 : std::max(1.0f, std::abs(offset) * 1e-6f)) + offset;
            rows<float> const source = x;
            weights<float>(table).layer_norm(here.be, weight[0], bias[0], source, y, 1e-5f, 1);
            CHECK(error(y, [&](std::size_t t, std::size_t i) { return normalized(weight[0], bias[0], x[t], 777, double{1e-5f})[i]; }) < 1e-6);
        }
    });
}

TEST_CASE_TEMPLATE("layer_norm on any number of threads", T, float, gf::bf16, gf::half) {
    on here, two(2), three(3);
    layout const l{401, 192, 1, 3};
    field<float> const x(l);
    field<T> const weight({1, l.width}), bias({1, l.width});
    each_set([&](kernel_table const& table) {
        for (std::size_t groups : counts{1, 6}) {
            field<float> y(l);
            weights<T>(table).layer_norm(here.be, weight[0], bias[0], x, y, 6.4e-4f, groups);
            std::size_t const n = l.width / groups;
            CHECK(error(y, [&](std::size_t t, std::size_t i) {
                      std::size_t const first = i / n * n;
                      return normalized(weight[0] + first, bias[0] + first, x[t] + first, n, 6.4e-4)[i - first];
                  }) < 1e-6);
            for (on* other : {&two, &three}) {
                field<float> z = y;
                weights<T>(table).layer_norm(other->be, weight[0], bias[0], x, z, 6.4e-4f, groups);
                CHECK(z == y);
            }
        }
    });
}

TEST_CASE("rms_norm of any width, alignment and stride; small and zero rows") {
    on here, three(3);
    each_set([&](kernel_table const& table) {
        auto const check = [&](layout const& l, float scale) {
            field<float> const x(l, scale);
            field<float> y = x;
            rows<float> const in_place = y;
            table.rms_norm(here.be, in_place, in_place);
            CHECK(error(y, [&](std::size_t t, std::size_t i) {
                      double squares = 0;
                      for (std::size_t j = 0; j < l.width; ++j) squares += static_cast<double>(x[t][j]) * static_cast<double>(x[t][j]);
                      return static_cast<double>(x[t][i]) / (std::sqrt(squares / static_cast<double>(l.width)) + 1e-8);
                  }) < 1e-6);
            CHECK(y.guards_intact());
            field<float> z = x;
            table.rms_norm(three.be, x, z);
            CHECK(z == y);
        };
        for (float scale : {1.0f, 1e-8f, 1e-12f, 0.0f, 1e8f}) each_layout([&](layout const& l) { check(l, scale); });
        check({401, 192, 1, 3}, 1);
    });
}
