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

/// Rows of normal numbers that bf16 holds exactly, times `scale`.
std::vector<float> some_rows(std::size_t n, float scale, std::mt19937& random) {
    std::normal_distribution<float> normal;
    std::vector<float> result(n);
    for (float& value : result) value = static_cast<float>(gf::bf16(scale * normal(random)));
    return result;
}

/// Low-rank products of bf16 weights, and a token shift by one, in the batch-invariant form against the other, whose sums are float32's: the largest
/// difference, and whether rows have the same bits alone.
template <std::size_t In, std::size_t R, std::size_t Out>
void check_low_rank(std::size_t rows) {
    std::mt19937 random(static_cast<unsigned>(rows));
    auto const weights = [&](std::size_t n) {
        std::vector<float> const numbers = some_rows(n, 0.2f, random);
        return there(std::vector<gf::bf16>(numbers.begin(), numbers.end()));
    };
    auto const w1 = weights(In * R), w2 = weights(R * Out), v = weights(Out), w2_of_shifts = weights(2 * R * In), mu = weights(2 * In);
    auto const x = there(some_rows(rows * In, 1, random)), h = there(some_rows(rows * 2 * R, 1, random));
    auto before = there(some_rows(In, 1, random));
    gf::cuda_runtime runtime(1);
    gf::cuda_runtime::lease const lease(runtime);
    using backend = gf::cuda<gf::bf16>;
    backend const be(lease.executor());
    auto const results = [&](backend const& with, std::size_t first) {
        std::size_t const n = rows - first;
        gf::cuda_buffer<float> low(n * R), up(n * Out), shifted[2]{gf::cuda_buffer<float>(n * In), gf::cuda_buffer<float>(n * In)};
        gf::sequence<float const, In> const from{x.data() + first * In, n};
        gf::sequence<float, R> const to_low{low.data(), n};
        gf::sequence<float, Out> const to{up.data(), n};
        lora_down(with, from, gf::matrix<gf::bf16 const, In, R>{w1.data()}, to_low);
        lora(with, gf::vector<gf::bf16 const, Out>{v.data()}, gf::sequence<float const, In>(from), gf::matrix<gf::bf16 const, In, R>{w1.data()},
             gf::matrix<gf::bf16 const, R, Out>{w2.data()}, to);
        lora_up(with, gf::sequence<float const, R>{h.data() + first * 2 * R, n, 2 * R}, gf::matrix<gf::bf16 const, R, Out>{w2.data()}, to);
        gf::single<float> const row_before(first == 0 ? before.data() : const_cast<float*>(x.data()) + (first - 1) * In, n, first);
        token_shift(with, from, row_before.state<backend, In>(), gf::sequence<float const, 2 * R>{h.data() + first * 2 * R, n},
                    gf::tensor<gf::bf16 const, 2, R, In>{w2_of_shifts.data()}, {mu.data(), mu.data() + In},
                    {gf::sequence<float, In>{shifted[0].data(), n}, gf::sequence<float, In>{shifted[1].data(), n}});
        std::vector<std::vector<float>> all;
        auto const download = [&](gf::cuda_buffer<float> const& y) {
            all.emplace_back(y.size());
            gf::detail::cuda_driver<>::download(y.data(), all.back().data(), y.size() * sizeof(float));
        };
        download(low), download(up), download(shifted[0]), download(shifted[1]);
        return all;
    };
    auto const expected = results(be, 0), invariant = results(batch_invariant(be), 0), alone = results(batch_invariant(be), rows - 1);
    for (std::size_t k = 0; k < expected.size(); ++k) {
        double worst = 0;
        for (std::size_t i = 0; i < expected[k].size(); ++i) worst = std::max(worst, std::abs(static_cast<double>(expected[k][i] - invariant[k][i])));
        INFO(rows, " rows of ", In, " by ", R, " to ", Out, ", result ", k, ": ", worst);
        CHECK(worst <= (k == 1 ? 3e-2 : 2e-5));  // the second is made from tanh rounded to bf16
        CHECK(std::equal(alone[k].begin(), alone[k].end(), invariant[k].end() - static_cast<std::ptrdiff_t>(alone[k].size())));
    }
}

}  // namespace

TEST_CASE("low-rank products on tensor cores agree with those of few rows") {
    for (std::size_t const rows : {1, 32, 33, 70}) {
        check_low_rank<96, 16, 40>(rows);
        check_low_rank<264, 136, 64>(rows);
        check_low_rank<68, 12, 40>(rows);  // not in tiles
    }
}

TEST_CASE_TEMPLATE("products agree with plain loops", Weight, float, gf::bf16, gf::half, gf::int8, gf::int4) {
    for (std::size_t const rows : {1, 3, 32, 33, 65}) {
        check<Weight, 70, 96>(rows, 0);
        check<Weight, 65, 200>(rows, 4);
        check<Weight, 33, 68>(rows, 0);
        check<Weight, 8, 72>(rows, 5);
    }
}
