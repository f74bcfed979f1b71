// SPDX-License-Identifier: Apache-2.0
#include "kernel_test.hpp"

namespace {

double turned(field<float> const& x, std::size_t n, std::size_t position, double base, double rescale, std::size_t t, std::size_t c) {
    double const angle = static_cast<double>(position + t) / rescale * std::pow(base, -2.0 * static_cast<double>(c % n / 2) / static_cast<double>(n));
    double const a = static_cast<double>(x[t][c / 2 * 2]), b = static_cast<double>(x[t][c / 2 * 2 + 1]);
    return c % 2 == 0 ? a * std::cos(angle) - b * std::sin(angle) : a * std::sin(angle) + b * std::cos(angle);
}

}  // namespace

TEST_CASE("rope of any head size, alignment and stride") {
    on here;
    each_set([&](kernel_table const& table) {
        for (std::size_t n = 2; n <= 4 * most_lanes + 2; n += 2)
            for (std::size_t heads : counts{1, 3})
                for (std::size_t size : counts{0, 1, 3})
                    for (std::size_t odd : counts{0, 1}) {
                        field<float> const x({size, heads * n, odd, 3 * odd});
                        field<float> y = x;
                        table.rope(here.be, y, n, 1000 * odd, 10000, 1);
                        CHECK(error(y, [&](std::size_t t, std::size_t c) { return turned(x, n, 1000 * odd, 10000, 1, t, c); }) < 5e-7);
                        CHECK(y.guards_intact());
                    }
    });
}

TEST_CASE("rope far out, over many rows, on any number of threads") {
    constexpr std::size_t D = 32, N = 16;
    on here, two(2), three(3);
    each_set([&](kernel_table const& table) {
        for (std::size_t position : counts{std::size_t{0}, std::size_t{5'000'000}, std::size_t{20'000'001}})
            for (double rescale : {1.0, 4.0}) {
                field<float> const x({4096, D});
                field<float> y = x;
                table.rope(here.be, y, N, position, 10000, rescale);
                CHECK(error(y, [&](std::size_t t, std::size_t c) { return turned(x, N, position, 10000, rescale, t, c); }) < 1e-6);
                for (on* other : {&two, &three}) {
                    field<float> z = x;
                    table.rope(other->be, z, N, position, 10000, rescale);
                    CHECK(z == y);
                }
            }
    });
}
