// SPDX-License-Identifier: Apache-2.0
// What compile-time extents would buy inside the kernels: one body, compiled with extents that are constants and with extents that
// are not, for one token of the paper's small model. `run_time/fixed` above 1 says that constants are faster; `library/fixed` is
// the library's own call, whose kernels take their extents at run time. Its shapes are fixed, since the compiler must know them.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <type_traits>

#include <benchmark/benchmark.h>

#include "rows.hpp"

#if defined(__GNUC__) && !defined(__clang__)
// GCC warns of loops over the rest where constants leave no rest, before it removes them.
#pragma GCC diagnostic ignored "-Waggressive-loop-optimizations"
#endif

namespace {

namespace kernel = gf::kernel;

template <std::size_t n>
using fixed = std::integral_constant<std::size_t, n>;

// Flattened, so that constants reach every loop; not inlined, so that nothing else does.

template <class Out, class In>
[[gnu::flatten, gnu::noinline]] void gemv(Out out, In in, gf::bf16 const* w, float const* x, float* y) {
    constexpr std::size_t rows = kernel::many_registers ? 6 : 4;
    std::size_t r = 0;
    for (; r + rows <= out; r += rows) kernel::dots<rows, 1>(w + r * in, in, x, in, y + r, out);
    for (; r < out; ++r) kernel::dots<1, 1>(w + r * in, in, x, in, y + r, out);
}

template <class Width>
[[gnu::flatten, gnu::noinline]] void norm(Width n, gf::bf16 const* weight, gf::bf16 const* bias, float const* x, float* y) {
    kernel::layer_norm_group(n, weight, bias, x, y, 1e-5f);
}

template <class Heads, class Size>
[[gnu::flatten, gnu::noinline]] void recurrence(Heads heads, Size n, float* r, float* k, float* v, float* w, float* state, float* y) {
    for (std::size_t head = 0; head < heads; ++head) {
        std::size_t const at = head * n;
        std::fill_n(y + at, std::size_t{n}, 0.0f);
        kernel::wkv6_columns({r + at, k + at, v + at, w + at, y + at, n, 1}, state + at * n, n, 0, n);
    }
}

/// The best time of a call of each, in turns, so that a machine that slows down slows all of them.
template <class Fixed, class RunTime, class Library>
void compare(benchmark::State& state, int calls, Fixed const& with_constants, RunTime const& without, Library const& library) {
    double best[3] = {1e30, 1e30, 1e30};
    auto const time = [&](auto const& f, double& least) {
        auto const start = std::chrono::steady_clock::now();
        for (int i = 0; i < calls; ++i) {
            f();
            benchmark::ClobberMemory();
        }
        double const s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        least = std::min(least, s / calls);
        return s;
    };
    for (auto _ : state) state.SetIterationTime(time(with_constants, best[0]) + time(without, best[1]) + time(library, best[2]));
    state.counters["fixed_us"] = best[0] * 1e6;
    state.counters["run_time/fixed"] = best[1] / best[0];
    state.counters["library/fixed"] = best[2] / best[0];
}

/// Parameters of layer norms, random.
template <std::size_t D>
struct random_norm {
    gf::aligned_vector<gf::bf16> const weight = random_values<gf::bf16>(D), bias = random_values<gf::bf16>(D);
    operator gf::norm_weights<gf::bf16 const, D>() const { return {{weight.data()}, {bias.data()}}; }
};

// Arguments: the extents again, which the compiler cannot know, then megabytes of matrices that calls go through in turn.
template <std::size_t Out, std::size_t In>
void linear(benchmark::State& state) {
    auto const out = static_cast<std::size_t>(state.range(0)), in = static_cast<std::size_t>(state.range(1));
    on<> here(1);
    std::size_t const size = Out * In, copies = (static_cast<std::size_t>(state.range(2)) << 20) / (size * sizeof(gf::bf16)) + 1;
    gf::aligned_vector<gf::bf16> const w(copies * size, gf::bf16(0.01f));
    gf::aligned_vector<float> const x(In, 0.5f);
    gf::aligned_vector<float> y(Out);
    std::size_t call = 0;
    auto const next = [&] { return w.data() + call++ % copies * size; };
    compare(
        state, 4, [&] { gemv(fixed<Out>{}, fixed<In>{}, next(), x.data(), y.data()); }, [&] { gemv(out, in, next(), x.data(), y.data()); },
        [&] {
            gf::linear(here.be, gf::matrix<gf::bf16 const, Out, In>{next()}, gf::sequence<float const, In>{x.data(), 1},
                       gf::sequence<float, Out>{y.data(), 1});
        });
}

template <std::size_t D>
void layer_norm(benchmark::State& state) {
    auto const n = static_cast<std::size_t>(state.range(0));
    on<> here(1);
    random_norm<D> const values;
    gf::norm_weights<gf::bf16 const, D> const p = values;
    auto const x = random_values(D);
    gf::aligned_vector<float> y(D);
    compare(
        state, 100, [&] { norm(fixed<D>{}, p.weight.data, p.bias.data, x.data(), y.data()); },
        [&] { norm(n, p.weight.data, p.bias.data, x.data(), y.data()); },
        [&] {
            gf::layer_norm(here.be, p, gf::sequence<float const, D>{x.data(), 1}, gf::sequence<float, D>{y.data(), 1});
        });
}

template <std::size_t H, std::size_t N>
void wkv6(benchmark::State& state) {
    auto const heads = static_cast<std::size_t>(state.range(0)), n = static_cast<std::size_t>(state.range(1));
    on<> here(1);
    constexpr std::size_t D = H * N;
    auto r = random_values(D), k = random_values(D), v = random_values(D), w = random_values(D);
    for (float& z : w) z = std::exp(-std::exp(z));
    gf::aligned_vector<float> y(D), s(D * N);
    gf::single<float> const alone(s.data(), 1, 0);
    auto const row = [](auto& values) { return gf::sequence<float, D>{values.data(), 1}; };
    compare(
        state, 20, [&] { recurrence(fixed<H>{}, fixed<N>{}, r.data(), k.data(), v.data(), w.data(), s.data(), y.data()); },
        [&] { recurrence(heads, n, r.data(), k.data(), v.data(), w.data(), s.data(), y.data()); },
        [&] { gf::wkv6(here.be, row(r), row(k), row(v), row(w), alone.state<gf::simd<gf::bf16>, H, N, N>(), row(y)); });
}

}  // namespace

#define GOLDFINCH_BENCHMARK(...) BENCHMARK(__VA_ARGS__)->UseManualTime()->Unit(benchmark::kMicrosecond)->MinTime(1)
GOLDFINCH_BENCHMARK(linear<2688, 768>)->Args({2688, 768, 256})->Args({2688, 768, 0});
GOLDFINCH_BENCHMARK(linear<768, 2688>)->Args({768, 2688, 256})->Args({768, 2688, 0});
GOLDFINCH_BENCHMARK(linear<768, 768>)->Args({768, 768, 256})->Args({768, 768, 0});
GOLDFINCH_BENCHMARK(linear<128, 128>)->Args({128, 128, 0});
GOLDFINCH_BENCHMARK(layer_norm<768>)->Arg(768);
GOLDFINCH_BENCHMARK(layer_norm<128>)->Arg(128);
GOLDFINCH_BENCHMARK(wkv6<12, 64>)->Args({12, 64});
GOLDFINCH_BENCHMARK(wkv6<4, 32>)->Args({4, 32});
BENCHMARK_MAIN();
