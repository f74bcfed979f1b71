// SPDX-License-Identifier: Apache-2.0
// Products of every weight format and shape of rows, in emulation, against plain loops. Activations are numbers that bf16 holds exactly.
#include <goldfinch/cuda.cuh>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

namespace gf = goldfinch;

namespace {

/// Memory of the device with what was on the host.
template <class T>
gf::cuda_buffer<T> there(std::vector<T> const& host) {
    gf::cuda_buffer<T> result(host.size());
    gf::detail::cuda_driver<>::upload(result.data(), host.data(), host.size() * sizeof(T));
    return result;
}

/// Weights [Out, In] in a format, on the device, and the numbers that they are.
template <class Weight, std::size_t Out, std::size_t In>
struct product {
    typename gf::cuda<Weight>::template linear_weights<Out, In> view;
    gf::cuda_buffer<std::byte> planes[2];
    std::vector<double> numbers = std::vector<double>(Out * In);

    explicit product(std::mt19937& random) {
        std::normal_distribution<double> normal(0, 0.2);
        auto const& format = gf::format_of(view);
        std::vector<std::byte> host[2];
        std::byte* to[2];
        std::byte const* from[2];
        for (std::size_t i = 0; i < format.n_planes(); ++i) host[i].resize(Out * format.plane(i, In).row_bytes);
        for (std::size_t o = 0; o < Out; ++o) {
            for (std::size_t k = 0; k < In; ++k) numbers[o * In + k] = normal(random);
            for (std::size_t i = 0; i < format.n_planes(); ++i) from[i] = to[i] = host[i].data() + o * format.plane(i, In).row_bytes;
            format.encode(&numbers[o * In], In, to);
            format.decode(from, In, &numbers[o * In]);
        }
        for (std::size_t i = 0; i < format.n_planes(); ++i) planes[i] = there(host[i]), from[i] = planes[i].data();
        format.bind(&view, from);
    }
};

/// The largest error, and whether rows have the same bits alone, all of them in the batch-invariant form and up to 32 in the other.
template <class Weight, std::size_t Out, std::size_t In>
void check(std::size_t rows, std::size_t gap) {
    std::mt19937 random(static_cast<unsigned>(rows));
    product<Weight, Out, In> const w(random);
    std::size_t const stride = In + gap;
    std::normal_distribution<float> normal;
    std::vector<float> x(rows * stride);
    for (float& value : x) value = static_cast<float>(gf::bf16(normal(random)));
    gf::cuda_runtime runtime(1);
    gf::cuda_runtime::lease const lease(runtime);
    gf::cuda<Weight> const be(lease.executor());
    auto const x_there = there(x);
    auto const y_of = [&](gf::cuda<Weight> const& with, std::size_t first, std::size_t n) {
        gf::cuda_buffer<float> y(n * Out);
        linear(with, w.view, gf::sequence<float const, In>{x_there.data() + first * stride, n, stride}, gf::sequence<float, Out>{y.data(), n});
        std::vector<float> result(n * Out);
        gf::detail::cuda_driver<>::download(y.data(), result.data(), result.size() * sizeof(float));
        return result;
    };
    auto const y = y_of(be, 0, rows), invariant = y_of(batch_invariant(be), 0, rows);
    double worst = 0;
    for (std::size_t t = 0; t < rows; ++t)
        for (std::size_t o = 0; o < Out; ++o) {
            double sum = 0;
            for (std::size_t k = 0; k < In; ++k) sum += static_cast<double>(x[t * stride + k]) * w.numbers[o * In + k];
            worst = std::max({worst, std::abs(sum - static_cast<double>(y[t * Out + o])), std::abs(sum - static_cast<double>(invariant[t * Out + o]))});
        }
    INFO(rows, " rows of ", In, " to ", Out, ": ", worst);
    CHECK(worst <= 2e-5);
    std::size_t const last = rows - 1;
    auto const alone = y_of(be, last, 1), invariant_alone = y_of(batch_invariant(be), last, 1);
    CHECK(std::equal(invariant_alone.begin(), invariant_alone.end(), invariant.begin() + static_cast<std::ptrdiff_t>(last * Out)));
    if (rows <= 32) CHECK(std::equal(alone.begin(), alone.end(), y.begin() + static_cast<std::ptrdiff_t>(last * Out)));
}

}  // namespace

TEST_CASE_TEMPLATE("products agree with plain loops", Weight, float, gf::bf16, gf::half, gf::int8, gf::int4) {
    for (std::size_t const rows : {1, 3, 32, 33, 65}) {
        check<Weight, 70, 96>(rows, 0);
        check<Weight, 65, 200>(rows, 4);
        check<Weight, 33, 68>(rows, 0);
        check<Weight, 8, 72>(rows, 5);
    }
}
