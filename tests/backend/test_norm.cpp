// SPDX-License-Identifier: Apache-2.0
#include "simd_test.hpp"

namespace {

// LayerNorm of one group in double.
template <class T>
std::vector<double> normalized(T const* weight, T const* bias, float const* x, std::size_t n, double eps) {
    double mean = 0, variance = 0;
    for (std::size_t i = 0; i < n; ++i) mean += double{x[i]} / static_cast<double>(n);
    for (std::size_t i = 0; i < n; ++i) variance += (double{x[i]} - mean) * (double{x[i]} - mean) / static_cast<double>(n);
    std::vector<double> y(n);
    for (std::size_t i = 0; i < n; ++i)
        y[i] = (double{x[i]} - mean) / std::sqrt(variance + eps) * static_cast<double>(weight[i]) + static_cast<double>(bias[i]);
    return y;
}

}  // namespace

TEST_CASE("loads of a vector agree with their portable form") {
    auto const same = [](auto zero) {
        using T = decltype(zero);
        std::vector<T> memory;
        for (int i = 0; i < 70000; ++i) {
            T value = T(0.0f);
            if constexpr (sizeof(T) == 2) value.bits = static_cast<std::uint16_t>(i);  // all of them
            else value = static_cast<T>(std::clamp(random_normal() * 40, -127.0f, 127.0f));
            memory.push_back(value);
        }
        bool equal = true;
        for (std::size_t i = 0; i + gf::kernel::lanes <= memory.size(); i += gf::kernel::lanes - 1) {
            float a[gf::kernel::lanes], b[gf::kernel::lanes];
            gf::kernel::store(a, gf::kernel::load(memory.data() + i));
            gf::kernel::store(b, gf::kernel::load_portable(memory.data() + i));
            for (std::size_t j = 0; j < gf::kernel::lanes; ++j) equal = equal && (a[j] == b[j] || (std::isnan(a[j]) && std::isnan(b[j])));
            for (std::size_t n = 0; n < gf::kernel::lanes && i < 1000; ++n) {
                gf::kernel::store(a, gf::kernel::load(memory.data() + i, n));
                for (std::size_t j = 0; j < gf::kernel::lanes; ++j)
                    equal = equal && (j < n ? a[j] == b[j] || std::isnan(b[j]) : a[j] == 0);
            }
        }
        return equal;
    };
    CHECK(same(0.0f));
    CHECK(same(gf::bf16(0.0f)));
    CHECK(same(gf::half(0.0f)));
    CHECK(same(gf::int8{0}));
}

TEST_CASE_TEMPLATE("layer_norm of any width, alignment and stride", Weight, float, gf::bf16, gf::half) {
    on<gf::simd<Weight>> here;
    each_layout([&](layout const& l) {
        for (std::size_t groups : counts{1, 3}) {
            layout const wide{l.size, l.width * groups, l.offset, l.gap};
            field<float> const x(wide);
            field<float> source = x, y(wide);
            field<Weight> weight({1, wide.width, l.offset}), bias({1, wide.width, l.offset});
            gf::kernel::layer_norm(here.be, weight[0], bias[0], source.rows(), y.rows(), 1e-5f, groups);
            auto const expected = [&](std::size_t t, std::size_t i) {
                std::size_t const first = i / l.width * l.width;
                return normalized(weight[0] + first, bias[0] + first, x[t] + first, l.width, double{1e-5f})[i - first];
            };
            CHECK(error(y, expected) < 2e-6);
            CHECK(y.guards_intact());
            gf::kernel::layer_norm(here.be, weight[0], bias[0], source.rows(), source.rows(), 1e-5f, groups);
            CHECK(error(source, expected) < 2e-6);
            CHECK(source.guards_intact());
        }
    });
}

TEST_CASE("layer_norm keeps its accuracy far from zero") {
    on<gf::simd<float>> here;
    for (float offset : {0.0f, 10.0f, 1e3f, -1e5f, 3e7f}) {
        field<float> x({4, 777}), y({4, 777}), weight({1, 777}), bias({1, 777});
        for (std::size_t t = 0; t < 4; ++t)
            for (std::size_t i = 0; i < 777; ++i) x[t][i] = x[t][i] * (t == 3 && std::abs(offset) < 1e6f ? 0 : std::max(1.0f, std::abs(offset) * 1e-6f)) + offset;
        gf::kernel::layer_norm(here.be, weight[0], bias[0], x.rows(), y.rows(), 1e-5f, 1);
        CHECK(error(y, [&](std::size_t t, std::size_t i) { return normalized(weight[0], bias[0], x[t], 777, double{1e-5f})[i]; }) < 1e-6);
    }
}

TEST_CASE_TEMPLATE("norms against the oracle, on any number of threads", Weight, float, gf::bf16, gf::half) {
    constexpr std::size_t D = 192;
    on<gf::simd<Weight>> here, pair(2), three(3);
    on<gf::reference> oracle;
    field<float> x({401, D, 1, 3});
    field<Weight> weight({1, D}), bias({1, D});
    in_double<D> const exact(x);
    in_double<D> out(x), w(weight), b(bias);

    field<float> y = x;
    for (std::size_t groups : counts{1, 6}) {
        y = x;
        in_double<D> in(x);
        gf::layer_norm(here.be, gf::vector<Weight const, D>{weight[0]}, gf::vector<Weight const, D>{bias[0]}, y.template sequence<D>(),
                       y.template sequence<D>(), 6.4e-4f, groups);
        gf::layer_norm(oracle.be, gf::vector<double const, D>{w.data()}, gf::vector<double const, D>{b.data()}, in.sequence(), out.sequence(),
                       6.4e-4, groups);
        CHECK(error(y, out) < 1e-6);
        for (auto* other : {&pair, &three}) {
            field<float> z = x;
            gf::layer_norm(other->be, gf::vector<Weight const, D>{weight[0]}, gf::vector<Weight const, D>{bias[0]}, z.template sequence<D>(),
                           z.template sequence<D>(), 6.4e-4f, groups);
            CHECK(z == y);
        }
    }
    y = x;
    in_double<D> in(x);
    gf::rms_norm(here.be, y.template sequence<D>(), y.template sequence<D>());
    gf::rms_norm(oracle.be, in.sequence(), out.sequence());
    CHECK(error(y, out) < 1e-6);
    field<float> z = x;
    gf::rms_norm(pair.be, z.template sequence<D>(), z.template sequence<D>());
    CHECK(z == y);
}

TEST_CASE("rms_norm of any width, alignment and stride; small and zero rows") {
    on<gf::simd<float>> here;
    for (float scale : {1.0f, 1e-8f, 1e-12f, 0.0f, 1e8f})
        each_layout([&](layout const& l) {
            field<float> const x(l, scale);
            field<float> y = x;
            gf::kernel::rms_norm(here.be, y.rows(), y.rows());
            CHECK(error(y, [&](std::size_t t, std::size_t i) {
                      double squares = 0;
                      for (std::size_t j = 0; j < l.width; ++j) squares += double{x[t][j]} * double{x[t][j]};
                      return double{x[t][i]} / (std::sqrt(squares / static_cast<double>(l.width)) + 1e-8);
                  }) < 1e-6);
            CHECK(y.guards_intact());
        });
}
