// SPDX-License-Identifier: Apache-2.0
#include "simd_test.hpp"

TEST_CASE_TEMPLATE("pack and unpack rows of any width, alignment and stride", Value, float, gf::bf16, gf::half) {
    on<gf::simd<float>> here;
    each_layout([&](layout const& l) {
        field<float> x(l), back(l);
        field<Value> packed(l);
        gf::kernel::pack<Value>(here.be, x.rows(), packed.rows(), nullptr);
        bool same = true;
        for (std::size_t t = 0; t < l.size; ++t)
            for (std::size_t i = 0; i < l.width; ++i) same = same && static_cast<float>(packed[t][i]) == static_cast<float>(Value(x[t][i]));
        CHECK(same);
        gf::kernel::unpack<Value>(here.be, packed.rows(), nullptr, back.rows());
        CHECK(error(back, [&](std::size_t t, std::size_t i) { return static_cast<double>(packed[t][i]); }) == 0);
        CHECK(packed.guards_intact());
        CHECK(back.guards_intact());
    });
}

TEST_CASE("int8 rows of any width, alignment and stride") {
    on<gf::simd<float>> here;
    for (float scale : {1.0f, 1e-6f, 1e20f, 0.0f, 1e-42f})
        each_layout([&](layout const& l) {
            field<float> x(l, scale), back(l);
            field<gf::int8> packed(l);
            std::vector<float> scales(l.size + 1, -1.0f);
            gf::kernel::pack<gf::int8>(here.be, x.rows(), packed.rows(), scales.data());
            gf::kernel::unpack<gf::int8>(here.be, packed.rows(), scales.data(), back.rows());
            bool near = true;
            for (std::size_t t = 0; t < l.size; ++t) {
                float const largest = std::abs(*std::max_element(x[t], x[t] + l.width, [](float a, float b) { return std::abs(a) < std::abs(b); }));
                near = near && scales[t] == largest / 127;
                for (std::size_t i = 0; i < l.width; ++i)
                    near = near && std::abs(back[t][i] - x[t][i]) <= std::max(0.5f * scales[t] + largest * 1e-6f, 1e-36f) && packed[t][i] >= -127;
            }
            CHECK(near);
            CHECK(scales[l.size] == -1);
            CHECK(packed.guards_intact());
            CHECK(back.guards_intact());
        });
}

TEST_CASE("int8 rounds to nearest, ties to even, and shows what is not finite") {
    constexpr std::size_t D = 41;
    on<gf::simd<float>> here;
    on<gf::reference> oracle;
    field<float> x({3, D}), back({3, D});
    for (std::size_t i = 0; i < D; ++i) x[0][i] = static_cast<float>(i) - 20.5f;  // scale 1: halves
    x[0][0] = 127, x[0][1] = -127, x[0][2] = 126.5f, x[0][3] = -125.5f;
    x[1][7] = NAN;
    x[2][40] = -INFINITY;
    field<gf::int8> packed({3, D}), expected({3, D});
    float scales[3], expected_scales[3];
    in_double<D> exact(x);
    gf::pack(here.be, x.sequence<D>(), packed.sequence<D>(), scales);
    gf::pack(oracle.be, exact.sequence().first(1), expected.sequence<D>().first(1), expected_scales);
    CHECK(scales[0] == expected_scales[0]);
    CHECK(std::equal(packed[0], packed[0] + D, expected[0]));
    CHECK(std::isnan(scales[1]));
    CHECK(std::isnan(scales[2]));
    gf::unpack(here.be, packed.sequence<D>(), scales, back.sequence<D>());
    CHECK(std::isnan(back[1][0]));
    CHECK(std::isnan(back[2][0]));
}

TEST_CASE("bf16 rounds to nearest, ties to even; infinities, NaN and subnormals") {
    constexpr std::size_t D = 40;
    on<gf::simd<float>> here;
    std::uint32_t const patterns[] = {0, 0x80000000, 0x3f808000, 0x3f818000, 0x3f808001, 0x7f7fffff, 0x7f800000, 0xff800000,
                                      0x7f800001, 0xffffffff, 0x7fc00000, 1, 0x8000, 0x8001, 0x807fffff, 0x00008000};
    field<float> x({1, D}), back({1, D});
    for (std::size_t i = 0; i < std::size(patterns); ++i) x[0][i] = std::bit_cast<float>(patterns[i]);
    field<gf::bf16> packed({1, D});
    gf::pack(here.be, x.sequence<D>(), packed.sequence<D>(), nullptr);
    gf::unpack(here.be, packed.sequence<D>(), nullptr, back.sequence<D>());
    for (std::size_t i = 0; i < D; ++i) {
        CHECK(packed[0][i].bits == gf::bf16(x[0][i]).bits);
        CHECK((back[0][i] == static_cast<float>(gf::bf16(x[0][i])) || std::isnan(x[0][i])));
        CHECK(std::isnan(back[0][i]) == std::isnan(x[0][i]));
    }
}

TEST_CASE_TEMPLATE("packing against the oracle, on any number of threads", Value, float, gf::bf16, gf::int8) {
    constexpr std::size_t D = 129;
    on<gf::simd<float>> here, pair(2);
    on<gf::reference> oracle;
    field<float> x({300, D, 1, 2}), back({300, D, 1});
    field<Value> packed({300, D, 1}), other = packed, expected = packed;
    std::vector<float> scales(300), other_scales(300), expected_scales(300);
    in_double<D> exact(x), exact_back(back);
    gf::pack(here.be, x.sequence<D>(), packed.template sequence<D>(), scales.data());
    gf::pack(pair.be, x.sequence<D>(), other.template sequence<D>(), other_scales.data());
    gf::pack(oracle.be, exact.sequence(), expected.template sequence<D>(), expected_scales.data());
    CHECK(packed == expected);
    CHECK(packed == other);
    CHECK(scales == other_scales);
    CHECK(scales == expected_scales);
    gf::unpack(here.be, packed.template sequence<D>(), scales.data(), back.sequence<D>());
    gf::unpack(oracle.be, packed.template sequence<D>(), scales.data(), exact_back.sequence());
    CHECK(error(back, exact_back) < 1e-7);
}
