// SPDX-License-Identifier: Apache-2.0
#include "simd_test.hpp"

namespace {

double turned(field<float> const& x, std::size_t n, std::size_t position, double base, double rescale, std::size_t t, std::size_t c) {
    double const angle =
        static_cast<double>(position + t) / rescale * std::pow(base, -2.0 * static_cast<double>(c % n / 2) / static_cast<double>(n));
    double const a = double{x[t][c / 2 * 2]}, b = double{x[t][c / 2 * 2 + 1]};
    return c % 2 == 0 ? a * std::cos(angle) - b * std::sin(angle) : a * std::sin(angle) + b * std::cos(angle);
}

}  // namespace

TEST_CASE("rope of any head size, alignment and stride") {
    on<gf::simd<float>> here;
    for (std::size_t n = 2; n <= 4 * gf::kernel::lanes + 2; n += 2)
        for (std::size_t heads : counts{1, 3})
            for (std::size_t size : counts{0, 1, 3})
                for (std::size_t odd : counts{0, 1}) {
                    field<float> const x({size, heads * n, odd, 3 * odd});
                    field<float> y = x;
                    gf::kernel::rope(here.be, y.rows(), n, 1000 * odd, 10000, 1);
                    CHECK(error(y, [&](std::size_t t, std::size_t c) { return turned(x, n, 1000 * odd, 10000, 1, t, c); }) < 5e-7);
                    CHECK(y.guards_intact());
                }
}

TEST_CASE("rope far out, over many rows, on any number of threads") {
    constexpr std::size_t D = 32, N = 16;
    for (std::size_t position : counts{std::size_t{0}, std::size_t{5'000'000}, std::size_t{20'000'001}})
        for (double rescale : {1.0, 4.0}) {
            on<gf::simd<gf::bf16>> here, pair(2);
            field<float> const x({4096, D});
            field<float> y = x, z = x;
            gf::rope<N>(here.be, y.sequence<D>(), position, 10000, rescale);
            gf::rope<N>(pair.be, z.sequence<D>(), position, 10000, rescale);
            CHECK(error(y, [&](std::size_t t, std::size_t c) { return turned(x, N, position, 10000, rescale, t, c); }) < 1e-6);
            CHECK(z == y);
        }
}

TEST_CASE("rope against the oracle") {
    constexpr std::size_t D = 60, N = 20;
    on<gf::simd<float>> here;
    on<gf::reference> oracle;
    field<float> x({100, D, 1, 1});
    in_double<D> exact(x);
    gf::rope<N>(here.be, x.sequence<D>(), 12345, 500000, 1);
    gf::rope<N>(oracle.be, exact.sequence(), 12345, 500000, 1);
    CHECK(error(x, exact) < 1e-6);
}
