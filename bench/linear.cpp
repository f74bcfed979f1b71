// SPDX-License-Identifier: Apache-2.0
// linear against the limit that binds it: weights read a second over the measured read bandwidth for few tokens, FLOP a second
// over the measured peak for many (and over the rate of products in tiles, where there is AMX), and Eigen's sgemm for the same product.

#include <algorithm>
#include <chrono>
#include <type_traits>

#include <benchmark/benchmark.h>

#include <Eigen/Core>
#include <goldfinch/backend/simd.hpp>
#include <goldfinch/weight/formats.hpp>

#include "arguments.hpp"
#include "limits.hpp"

namespace gf = goldfinch;

namespace {

/// Seconds of one call of f: the best of a few, since other programs may be at work.
template <class F>
double best_time(int repeats, F const& f) {
    double best = 1e30;
    for (int i = 0; i < repeats; ++i) {
        auto const start = std::chrono::steady_clock::now();
        f();
        best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    return best;
}

/// Weight matrices [out, in] one after another, and one of them as its kernel takes it.
template <class T>
struct matrices {
    gf::aligned_vector<T> values;
    std::size_t of_one;
    static std::size_t bytes(std::size_t out, std::size_t in) { return out * in * sizeof(T); }
    matrices(std::size_t count, std::size_t out, std::size_t in) : values(count * out * in, T(0.01f)), of_one(out * in) {}
    T const* operator[](std::size_t i) const { return values.data() + i * of_one; }
};
template <std::size_t Bits>
struct matrices<gf::detail::packed_integers<Bits>> {
    gf::aligned_vector<std::byte> packed;
    gf::aligned_vector<gf::bf16> scales;
    std::size_t words, blocks;  // bytes and scales of one
    static std::size_t packed_bytes(std::size_t out, std::size_t in) { return out * 4 * gf::detail::words_of(Bits, in); }
    static std::size_t n_scales(std::size_t out, std::size_t in) { return out * gf::detail::blocks_of(in); }
    static std::size_t bytes(std::size_t out, std::size_t in) { return packed_bytes(out, in) + 2 * n_scales(out, in); }
    matrices(std::size_t count, std::size_t out, std::size_t in)
        : packed(count * packed_bytes(out, in), std::byte{0x5a}),
          scales(count * n_scales(out, in), gf::bf16(0.01f)),
          words(packed_bytes(out, in)),
          blocks(n_scales(out, in)) {}
    gf::detail::packed_rows operator[](std::size_t i) const {
        return {packed.data() + i * words, reinterpret_cast<std::byte const*>(scales.data() + i * blocks)};
    }
};

// Arguments: out, in, tokens, threads.
template <class Weight>
void linear(benchmark::State& state) {
    std::size_t const out = bench::argument(state, 0), in = bench::argument(state, 1), tokens = bench::argument(state, 2),
                      threads = bench::argument(state, 3);
    gf::cpu_runtime runtime(threads);
    gf::cpu_runtime::lease const lease(runtime);

    // Few tokens: one matrix after another, together far larger than the caches, as in a model.
    std::size_t const size = matrices<Weight>::bytes(out, in), copies = tokens > gf::kernel::few_rows ? 1 : (std::size_t{256} << 20) / size + 1;
    matrices<Weight> const w(copies, out, in);
    gf::aligned_vector<float> x(tokens * in, 0.5f), y(tokens * out);
    std::size_t copy = 0;
    double best = 1e30;
    for (auto _ : state) {
        auto const matrix = w[copy++ % copies];
        best = std::min(best, best_time(1, [&] {
                            gf::kernel::linear<Weight>(lease.executor(), matrix, {x.data(), tokens, in, in}, {y.data(), tokens, out, out});
                        }));
    }
    double const flops = 2.0 * static_cast<double>(out * in * tokens), bytes = static_cast<double>(size);
    state.counters["GFLOP/s"] = flops / best * 1e-9;
    state.counters["GB/s"] = bytes / best * 1e-9;
    if (tokens <= gf::kernel::few_rows) {
        state.counters["of_bandwidth"] = bytes / best / limits::read_bandwidth(threads);
    } else {
        state.counters["of_peak"] = flops / best / limits::fma_peak(threads);
#if GOLDFINCH_AMX
        if (std::is_same_v<Weight, gf::bf16> && tokens > gf::kernel::few_rows) state.counters["of_amx"] = flops / best / limits::amx_rate(threads);
#elif GOLDFINCH_AVX512_BF16
        if (std::is_same_v<Weight, gf::bf16> && tokens > gf::kernel::few_rows && gf::kernel::dots_are_fast())
            state.counters["of_dots"] = flops / best / limits::dots_peak(threads);
#endif
        if (threads == 1) {
            using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
            auto const index = [](std::size_t n) { return static_cast<Eigen::Index>(n); };
            matrix const a = matrix::Constant(index(tokens), index(in), 0.5f), b = matrix::Constant(index(out), index(in), 0.01f);
            matrix c(index(tokens), index(out));
            state.counters["eigen_time_ratio"] = best_time(5, [&] { c.noalias() = a * b.transpose(); }) / best;
        }
    }
}

using function = void (*)(benchmark::State&);
constexpr bench::named<function> weight_types[] = {{"float", linear<float>},
                                                   {"bf16", linear<gf::bf16>},
                                                   {"half", linear<gf::half>},
                                                   {"int8", linear<gf::detail::packed_integers<8>>},
                                                   {"int4", linear<gf::detail::packed_integers<4>>}};

/// The products of the paper's small model, and some of the large one, with the numbers of tokens that are measured by default.
struct product {
    std::array<std::size_t, 2> shape;
    bench::sizes tokens;
};
std::vector<product> const products{
    {{2688, 768}, {1, 2, 4, 8, 512}}, {{2048, 2048}, {1, 4, 512}}, {{65536, 768}, {1, 4}}, {{768, 768}, {1, 9, 16, 64, 512}},
    {{768, 2688}, {1, 512}},          {{768, 816}, {64}},          {{48, 768}, {512}}};

}  // namespace

int main(int argc, char** argv) {
    std::vector<std::array<std::size_t, 2>> shapes;
    bench::sizes given_tokens, threads{1, 2};
    std::vector<bench::named<function>> weights{weight_types[0], weight_types[1]};
    bench::arguments options("bench_linear",
                             "Products with weights [out, in] against the read bandwidth for few tokens, and against the peak of\n"
                             "multiply-adds and Eigen's product for many.");
    options.shapes(shapes, "out,in", " (those of the paper's models)");
    options.numbers("--tokens", given_tokens, 1, 1 << 20, "rows to multiply (some for each default shape, 1,8,512 for others)");
    options.names("--weights", weights, weight_types, "float, bf16, half, int8, int4 (float,bf16)");
    options.threads(threads, "threads (1,2)");
    return options.run(argc, argv, [&] {
        std::vector<product> chosen = shapes.empty() ? products : std::vector<product>{};
        for (auto const& shape : shapes) chosen.push_back({shape, {1, 8, 512}});
        for (auto const& [name, time] : weights) {
            auto* const b = benchmark::RegisterBenchmark(("linear<" + std::string(name) + ">").c_str(), time);
            b->ArgNames({"out", "in", "tokens", "threads"})->Unit(benchmark::kMicrosecond)->UseRealTime()->MinTime(0.2);
            for (std::size_t const t : threads)
                for (auto const& [shape, tokens] : chosen)
                    for (std::size_t const n : bench::given_or(given_tokens, tokens)) b->Args(bench::as_arguments({shape[0], shape[1], n, t}));
        }
    });
}
