// SPDX-License-Identifier: Apache-2.0
#include "kernel_test.hpp"

#include <bit>
#include <cstdint>

TEST_CASE_TEMPLATE("pack and unpack rows of any width, alignment and stride", Value, float, gf::bf16) {
    on here;
    each_set([&](kernel_table const& table) {
        each_layout([&](layout const& l) {
            field<float> const x(l);
            field<float> back(l);
            field<Value> packed(l);
            values<Value>(table).pack(here.be, x, packed, nullptr);
            bool same = true;
            for (std::size_t t = 0; t < l.size; ++t)
                for (std::size_t i = 0; i < l.width; ++i) same = same && static_cast<float>(packed[t][i]) == static_cast<float>(Value(x[t][i]));
            CHECK(same);
            rows<Value> const from = packed;
            values<Value>(table).unpack(here.be, from, nullptr, back);
            CHECK(error(back, [&](std::size_t t, std::size_t i) { return static_cast<double>(static_cast<float>(packed[t][i])); }) == 0);
            CHECK(packed.guards_intact());
            CHECK(back.guards_intact());
        });
    });
}

TEST_CASE("int8 rows of any width, alignment and stride") {
    on here;
    each_set([&](kernel_table const& table) {
        for (float scale : {1.0f, 1e-6f, 1e20f, 0.0f, 1e-42f})
            each_layout([&](layout const& l) {
                field<float> const x(l, scale);
                field<float> back(l);
                field<gf::int8> packed(l);
                std::vector<float> scales(l.size + 1, -1.0f);
                values<gf::int8>(table).pack(here.be, x, packed, scales.data());
                rows<gf::int8> const from = packed;
                values<gf::int8>(table).unpack(here.be, from, scales.data(), back);
                bool near = true;
                for (std::size_t t = 0; t < l.size; ++t) {
                    float const largest =
                        std::abs(*std::max_element(x[t], x[t] + l.width, [](float a, float b) { return std::abs(a) < std::abs(b); }));
                    near = near && scales[t] == largest / 127;
                    for (std::size_t i = 0; i < l.width; ++i)
                        near = near && std::abs(back[t][i] - x[t][i]) <= std::max(0.5f * scales[t] + largest * 1e-6f, 1e-36f) && packed[t][i] >= -127;
                }
                CHECK(near);
                CHECK(scales[l.size] == -1);
                CHECK(packed.guards_intact());
                CHECK(back.guards_intact());
            });
    });
}

TEST_CASE("int8 rounds to nearest, ties to even, and shows what is not finite") {
    constexpr std::size_t n = 141;
    on here;
    each_set([&](kernel_table const& table) {
        for (std::size_t place : counts{0, 7, 63, 64, 128, 140}) {
            field<float> x({4, n}), back({4, n});
            for (std::size_t i = 0; i < n; ++i) x[0][i] = static_cast<float>(i) - 70.5f;  // scale 1: halves
            x[0][0] = 127, x[0][1] = -127, x[0][2] = 126.5f, x[0][3] = -125.5f;
            x[1][place] = NAN;
            x[2][place] = -INFINITY;
            x[3][place] = std::bit_cast<float>(0xff800001u);  // a signalling NaN
            field<gf::int8> packed({4, n});
            float scales[4];
            rows<float> const source = x;
            values<gf::int8>(table).pack(here.be, source, packed, scales);
            CHECK(scales[0] == 1);
            for (std::size_t i = 0; i < n; ++i) CHECK(packed[0][i] == static_cast<int>(std::nearbyint(x[0][i])));
            rows<gf::int8> const from = packed;
            values<gf::int8>(table).unpack(here.be, from, scales, back);
            for (std::size_t t = 1; t < 4; ++t) {
                CHECK(std::bit_cast<std::uint32_t>(scales[t]) == 0x7fc00000u);
                CHECK(std::isnan(back[t][0]));
            }
        }
    });
}

TEST_CASE("bf16 rounds to nearest, ties to even; infinities, NaN and subnormals") {
    constexpr std::size_t n = 40;
    on here;
    std::uint32_t const patterns[] = {0,          0x80000000, 0x3f808000, 0x3f818000, 0x3f808001, 0x7f7fffff, 0x7f800000, 0xff800000,
                                      0x7f800001, 0xffffffff, 0x7fc00000, 1,          0x8000,     0x8001,     0x807fffff, 0x00008000};
    each_set([&](kernel_table const& table) {
        field<float> x({1, n}), back({1, n});
        for (std::size_t i = 0; i < std::size(patterns); ++i) x[0][i] = std::bit_cast<float>(patterns[i]);
        field<gf::bf16> packed({1, n});
        rows<float> const source = x;
        rows<gf::bf16> const from = packed;
        values<gf::bf16>(table).pack(here.be, source, packed, nullptr);
        values<gf::bf16>(table).unpack(here.be, from, nullptr, back);
        for (std::size_t i = 0; i < n; ++i) {
            CHECK(packed[0][i].bits == gf::bf16(x[0][i]).bits);
            CHECK((back[0][i] == static_cast<float>(gf::bf16(x[0][i])) || std::isnan(x[0][i])));
            CHECK(std::isnan(back[0][i]) == std::isnan(x[0][i]));
        }
    });
}

TEST_CASE_TEMPLATE("packing on any number of threads", Value, float, gf::bf16, gf::int8) {
    on here, two(2), three(3);
    each_set([&](kernel_table const& table) {
        field<float> const x({300, 129, 1, 2});
        field<Value> packed({300, 129, 1});
        field<float> back({300, 129, 1});
        std::vector<float> scales(300);
        values<Value>(table).pack(here.be, x, packed, scales.data());
        rows<Value> const from = packed;
        values<Value>(table).unpack(here.be, from, scales.data(), back);
        for (on* other : {&two, &three}) {
            field<Value> same = packed;
            field<float> same_back = back;
            std::vector<float> same_scales(300);
            values<Value>(table).pack(other->be, x, same, same_scales.data());
            values<Value>(table).unpack(other->be, from, scales.data(), same_back);
            CHECK(same == packed);
            CHECK(same_scales == scales);
            CHECK(same_back == back);
        }
    });
}
