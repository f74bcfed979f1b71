// SPDX-License-Identifier: Apache-2.0
// attend over tiles of 64 keys against the limit that binds it: keys and values read a second over the measured read bandwidth for
// one query, FLOP a second over the measured peak for many (4 D a query and key; exponentials are not counted).

#include <algorithm>
#include <chrono>

#include <benchmark/benchmark.h>

#include <goldfinch/backend/simd.hpp>

#include "arguments.hpp"
#include "limits.hpp"

namespace gf = goldfinch;

namespace {

constexpr std::size_t tile = 64;

// Arguments: heads, their size, queries, keys in memory. One thread: the cache gives tiles to threads.
template <class Value>
void attend(benchmark::State& state) {
    std::size_t const H = bench::argument(state, 0), A = H * bench::argument(state, 1), queries = bench::argument(state, 2),
                      keys = bench::argument(state, 3);
    gf::cpu_runtime runtime(1);
    gf::cpu_runtime::lease const lease(runtime);
    gf::simd<gf::bf16> const be(lease.executor());
    gf::aligned_vector<float> q(queries * A, 0.5f), value(queries * A), max(queries * H), total(queries * H);
    gf::aligned_vector<Value> const k(keys * A, Value(0.1f)), v(keys * A, Value(0.2f));
    gf::detail::attention_sums<float> const sums{{max.data(), queries, H, H}, {total.data(), queries, H, H}, {value.data(), queries, A, A}};
    auto const tile_at = [&](auto const& values, std::size_t j) { return gf::detail::rows<Value const>{values.data() + j * A, tile, A, A}; };
    double best = 1e30;
    for (auto _ : state) {
        gf::clear_sums(be, sums);
        for (std::size_t j = 0; j < keys; j += tile) {
            auto const start = std::chrono::steady_clock::now();
            gf::kernel::attend<Value>(be, {H, A / H, {q.data(), queries, A, A}, tile_at(k, j), tile_at(v, j), sums, keys + 1 - j});
            best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
        }
    }
    double const flops = 4.0 * static_cast<double>(queries * tile * A), bytes = 2.0 * static_cast<double>(tile * A * sizeof(Value));
    state.counters["GFLOP/s"] = flops / best * 1e-9;
    state.counters["of_peak"] = flops / best / limits::fma_peak(1);
    if (queries == 1) state.counters["of_bandwidth"] = bytes / best / limits::read_bandwidth(1);
}

using function = void (*)(benchmark::State&);
constexpr bench::named<function> value_types[] = {{"float", attend<float>}, {"bf16", attend<gf::bf16>}};

}  // namespace

int main(int argc, char** argv) {
    std::vector<std::array<std::size_t, 2>> shapes{{12, 64}};
    bench::sizes queries{1, 9, 64, 256}, keys;
    std::vector<bench::named<function>> values{value_types[0], value_types[1]};
    bench::arguments options("bench_attention",
                             "Attention over tiles of 64 keys, on one thread, against the read bandwidth for one query and the peak of\n"
                             "multiply-adds for many.");
    options.shapes(shapes, "heads,head_size", " (12,64)");
    options.numbers("--queries", queries, 1, 1 << 20, "queries (1,9,64,256)");
    options.numbers("--keys", keys, 64, 1 << 24, "keys in memory, a multiple of 64 (4096, and 65536 for one query)");
    options.names("--values", values, value_types, "what keys and values are stored as: float, bf16 (both)");
    return options.run(argc, argv, [&] {
        for (std::size_t const n : keys)
            if (n % tile != 0) throw CLI::ValidationError("--keys", "expected multiples of 64, found '" + std::to_string(n) + "'");
        for (auto const& [name, time] : values) {
            auto* const b = benchmark::RegisterBenchmark(("attend<" + std::string(name) + ">").c_str(), time);
            b->ArgNames({"heads", "size", "queries", "keys"})->Unit(benchmark::kMicrosecond)->UseRealTime()->MinTime(0.1);
            for (auto const& shape : shapes)
                for (std::size_t const q : queries)
                    for (std::size_t const n : bench::given_or(keys, q == 1 ? bench::sizes{4096, 65536} : bench::sizes{4096}))
                        b->Args(bench::as_arguments({shape[0], shape[1], q, n}));
        }
    });
}
