// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "rows.hpp"

namespace {

// Decode is bound by reading and writing the state, pre-fill by arithmetic: 5 FLOP a state element and token.
void wkv6(benchmark::State& state) {
    std::size_t const heads = bench::argument(state, 0), size = bench::argument(state, 1), tokens = bench::argument(state, 2),
                      threads = bench::argument(state, 3), width = heads * size;
    on<> here(threads);
    random_rows r(tokens, width), k(tokens, width), v(tokens, width), w(tokens, width), y(tokens, width);
    for (float& x : w.values) x = std::exp(-std::exp(x));
    gf::aligned_vector<float> s(width * size);
    float* const of_sequence = s.data();
    std::size_t const first[]{0, tokens};
    gf::bf16 const* const no_bonus = nullptr;
    for (auto _ : state) {
        gf::kernel::wkv6(here.be, heads, size, r, k, v, w, no_bonus, {1, &of_sequence, 0, first}, y);
        benchmark::ClobberMemory();
    }
    if (tokens == 1) report_bytes(state, threads, 2 * s.size() * sizeof(float));
    report_flops(state, threads, 5.0 * static_cast<double>(tokens * width * size));
}

}  // namespace

int main(int argc, char** argv) {
    std::vector<std::array<std::size_t, 2>> shapes{{12, 64}, {32, 64}, {1, 64}, {4, 32}};
    bench::sizes tokens{1, 16, 256}, threads{1, 2};
    bench::arguments options("bench_wkv6", "The recurrence of RWKV-6 against the bandwidth of its state's memory, and the peak of multiply-adds.");
    options.shapes(shapes, "heads,head_size", " (12,64 32,64 1,64 4,32)");
    options.numbers("--tokens", tokens, 1, 1 << 20, "tokens (1,16,256)");
    options.threads(threads, "threads (1,2)");
    return options.run(argc, argv, [&] {
        auto* const b = benchmark::RegisterBenchmark("wkv6", wkv6)->ArgNames({"heads", "size", "tokens", "threads"})->UseRealTime();
        for (auto const& shape : shapes)
            for (std::size_t const t : threads)
                for (std::size_t const n : tokens) b->Args(bench::as_arguments({shape[0], shape[1], n, t}));
    });
}
