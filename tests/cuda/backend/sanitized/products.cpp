// SPDX-License-Identifier: Apache-2.0
// Products of every weight format and shape of rows, in emulation, against plain loops. Activations are numbers that bf16 holds exactly.
#include <goldfinch/cuda.cuh>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <random>
#include <span>
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

/// Rows of activations on the device, and of outputs, `gap` further apart than they are wide.
template <std::size_t Out, std::size_t In>
struct operands {
    std::size_t rows, x_stride, y_stride;
    std::vector<float> x;
    gf::cuda_buffer<float> x_there, y_there;

    operands(std::size_t n, std::size_t x_gap, std::size_t y_gap, std::mt19937& random)
        : rows(n), x_stride(In + x_gap), y_stride(Out + y_gap), x(n * x_stride), y_there(n * y_stride) {
        std::normal_distribution<float> normal;
        for (float& value : x) value = static_cast<float>(gf::bf16(normal(random)));
        x_there = there(x);
    }
    /// The outputs, each with what lies between its row and the next.
    template <class Weight>
    std::vector<float> times(product<Weight, Out, In> const& w, gf::cuda<Weight> const& be) {
        linear(be, w.view, gf::sequence<float const, In>{x_there.data(), rows, x_stride}, gf::sequence<float, Out>{y_there.data(), rows, y_stride});
        std::vector<float> result(rows * y_stride);
        gf::detail::cuda_driver<>::download(y_there.data(), result.data(), result.size() * sizeof(float));
        return result;
    }
    /// The largest relative L2 error of a row of outputs; infinite where anything else was written.
    template <class Weight>
    double error(product<Weight, Out, In> const& w, std::vector<float> const& y) const {
        double worst = 0;
        for (std::size_t t = 0; t < rows; ++t) {
            double difference = 0, size = 0;
            for (std::size_t o = 0; o < y_stride; ++o) {
                double sum = 0;
                for (std::size_t k = 0; o < Out && k < In; ++k) sum += static_cast<double>(x[t * x_stride + k]) * w.numbers[o * In + k];
                double const d = sum - static_cast<double>(y[t * y_stride + o]);
                if (o >= Out && d != 0) return HUGE_VAL;
                difference += d * d, size += sum * sum;
            }
            double const relative = std::sqrt(difference / size);
            if (!(relative <= worst)) worst = relative == relative ? relative : HUGE_VAL;
        }
        return worst;
    }
};

/// Whether a product goes through cuBLASLt in a pass of so many tokens; its outputs are right.
template <class Weight, std::size_t Out, std::size_t In>
bool by_cublaslt(std::size_t rows, std::size_t x_gap, std::size_t y_gap, std::size_t tokens, bool invariant = false) {
    std::mt19937 random(static_cast<unsigned>(rows));
    product<Weight, Out, In> const w(random);
    operands<Out, In> of(rows, x_gap, y_gap, random);
    gf::cuda_runtime runtime(1);
    gf::cuda_runtime::lease const lease(runtime);
    gf::cuda<Weight> const be(lease.executor());
    be.recorder->begin_pass(tokens);
    std::size_t const before = emulation::cublaslt::get().products;
    double const error = of.error(w, of.times(w, invariant ? batch_invariant(be) : be));
    INFO(rows, " rows of ", In, " to ", Out, ": ", error);
    CHECK(error <= 2e-6);
    return emulation::cublaslt::get().products > before;
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

TEST_CASE_TEMPLATE("products of many rows in passes of many tokens go through cuBLASLt", Weight, float, gf::bf16, gf::half) {
    constexpr bool is_float = std::is_same_v<Weight, float>;
    constexpr auto least = gf::detail::device::least_cublaslt_rows;
    CHECK(by_cublaslt<Weight, 72, 96>(least, 0, 0, least));
    CHECK(by_cublaslt<Weight, 70, 200>(least + 22, 4, 2, least + 22));
    CHECK(by_cublaslt<Weight, 9, 24>(2 * least + 1, 40, 3, 65));
    CHECK(by_cublaslt<Weight, 8, 72>(least, 5, 0, least) == !is_float);  // rows that are not aligned are only read to be rounded
    emulation::cublaslt::get().workspace = 0;
    CHECK(by_cublaslt<Weight, 72, 96>(least, 0, 0, least));
    emulation::cublaslt::get().workspace = 512;

    CHECK_FALSE(by_cublaslt<Weight, 72, 96>(least - 1, 0, 0, least - 1));
    CHECK_FALSE(by_cublaslt<Weight, 72, 96>(least, 0, 0, 64));
    CHECK_FALSE(by_cublaslt<Weight, 72, 96>(least, 0, 0, least, true));
    CHECK_FALSE(by_cublaslt<Weight, 72, 100>(least, 0, 0, least));
    CHECK_FALSE(by_cublaslt<Weight, 70, 96>(least, 0, 0, least));  // outputs that are not aligned
}

TEST_CASE("integers have a kernel of their own in passes of many tokens, too") {
    CHECK_FALSE(by_cublaslt<gf::int8, 72, 96>(128, 0, 0, 128));
    CHECK_FALSE(by_cublaslt<gf::int4, 72, 96>(128, 0, 0, 128));
}

TEST_CASE("activations of any size are rounded to half with its precision") {
    constexpr std::size_t Out = 24, In = 64, rows = 130;
    std::mt19937 random(1);
    product<gf::half, Out, In> const w(random);
    gf::cuda_runtime runtime(1);
    for (float const largest : {0.0f, 1e-30f, 1e-4f, 1.0f, 6e4f, 1e5f, 1e12f, 3e37f}) {
        operands<Out, In> of(rows, 0, 0, random);
        std::uniform_real_distribution<float> uniform(-1, 1);
        for (std::size_t i = 0; i < of.x.size(); ++i) of.x[i] = uniform(random) * largest * (i < In ? 1 : 1e-3f);
        of.x_there = there(of.x);
        gf::cuda_runtime::lease const lease(runtime);
        gf::cuda<gf::half> const be(lease.executor());
        be.recorder->begin_pass(rows);
        auto const y = of.times(w, be);
        INFO("activations up to ", largest);
        if (largest > 0)
            CHECK(of.error(w, y) <= 1e-3);
        else
            CHECK(y == std::vector<float>(rows * Out));
        of.x[3 * In + 5] = HUGE_VALF, of.x[4 * In] = NAN;  // the other rows do not notice
        of.x_there = there(of.x);
        auto const beside = of.times(w, be);
        CHECK(std::equal(y.begin() + 5 * Out, y.end(), beside.begin() + 5 * Out));
        CHECK_FALSE(gf::detail::is_finite(beside[3 * Out]));
        CHECK_FALSE(gf::detail::is_finite(beside[4 * Out]));
    }
}

TEST_CASE("what cuBLASLt chose is kept for each shape, as long as the runtime") {
    auto& device = emulation::device::get();
    auto& library = emulation::cublaslt::get();
    std::size_t const handles = device.handles();
    {
        std::mt19937 random(1);
        product<gf::bf16, 8, 16> const w(random);
        gf::cuda_runtime runtime(1);
        operands<8, 16> first(128, 0, 0, random), second(128, 0, 0, random), longer(129, 0, 0, random), wider(128, 0, 4, random);
        gf::cuda_runtime::lease const lease(runtime);
        gf::cuda<gf::bf16> const be(lease.executor());
        be.recorder->begin_pass(128);
        device.deferred = true;
        std::size_t const choices = library.choices;
        for (int round = 0; round < 2; ++round)
            for (auto* const of : {&first, &second, &longer, &wider}) CHECK(of->error(w, of->times(w, be)) <= 2e-6);
        device.deferred = false;
        CHECK(library.choices == choices + 3);
        for (std::size_t rows = 130; rows < 130 + gf::detail::device::cublaslt::most_plans; ++rows) operands<8, 16>(rows, 0, 0, random).times(w, be);
        CHECK(first.error(w, first.times(w, be)) <= 2e-6);
        CHECK(library.choices == choices + 4 + gf::detail::device::cublaslt::most_plans);
        CHECK(device.handles() <= handles + 2 + 4 * gf::detail::device::cublaslt::most_plans);
    }
    CHECK(device.handles() == handles);
}

TEST_CASE("where a call of cuBLASLt fails, or there is no library or no algorithm, products do without") {
    auto& library = emulation::cublaslt::get();
    std::size_t const handles = emulation::device::get().handles();
    for (std::string const call :
         {"cublasLtCreate", "cublasLtMatmulDescCreate", "cublasLtMatmulDescSetAttribute", "cublasLtMatrixLayoutCreate", "cublasLtMatmulPreferenceCreate",
          "cublasLtMatmulPreferenceSetAttribute", "cublasLtMatmulAlgoGetHeuristic", "cublasLtMatmul"}) {
        library.fails = call;
        CAPTURE(call);
        CHECK_FALSE(by_cublaslt<gf::half, 8, 16>(128, 0, 0, 128));
        library.fails.clear();
        CHECK(emulation::device::get().handles() == handles);
    }
    library.has_algorithms = false;
    CHECK_FALSE(by_cublaslt<gf::bf16, 8, 16>(128, 0, 0, 128));
    library.has_algorithms = true;
    library.workspace = gf::detail::device::cublaslt::most_workspace + 1;
    CHECK_FALSE(by_cublaslt<gf::bf16, 8, 16>(128, 0, 0, 128));
    library.workspace = 512;
    library.is_installed = false;
    CHECK_FALSE(by_cublaslt<gf::bf16, 8, 16>(128, 0, 0, 128));
    library.is_installed = true;
}

TEST_CASE_TEMPLATE("a pre-fill by cuBLASLt gives the logits of one without it", Weight, float, gf::bf16, gf::half) {
    static constexpr gf::config C = gf::checked({.vocab_size = 64, .n_layer = 3, .n_gold = 1, .n_embd = 32, .head_size = 16});
    auto& library = emulation::cublaslt::get();
    auto const logits = [&](bool installed) {
        library.is_installed = installed;
        using model = gf::model<C, gf::cuda<Weight>, gf::compressed_keys<float>>;
        gf::session session{model::random(1, {.threads = 1})};
        std::vector<gf::token> tokens(140);
        for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<gf::token>((5 + 11 * i + i * i / 3) % C.vocab_size);
        session.append(tokens);
        std::span<float const> const result = session.step(1);
        library.is_installed = true;
        return std::vector<float>(result.begin(), result.end());
    };
    std::size_t const before = library.products;
    auto const expected = logits(false);
    CHECK(library.products == before);
    auto const ours = logits(true);
    CHECK(library.products > before + 10);
    double difference = 0, size = 0;
    for (std::size_t i = 0; i < ours.size(); ++i) {
        difference += std::pow(static_cast<double>(ours[i]) - static_cast<double>(expected[i]), 2);
        size += std::pow(static_cast<double>(expected[i]), 2);
    }
    INFO("relative L2 ", std::sqrt(difference / size));
    CHECK(std::sqrt(difference / size) <= (std::is_same_v<Weight, gf::half> ? 2e-3 : 2e-5));
}
