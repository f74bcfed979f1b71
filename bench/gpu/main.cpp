// SPDX-License-Identifier: Apache-2.0
// What a GPU takes for kernels, and for pre-fill and decode of L24 D2048 in bf16, beside the least time for their bytes at the rate of a copy and for their
// FLOPs at that of a matrix product, both measured here; decode_cost and prefill_cost count those of models.

#include "kernels.hpp"
#include "model.hpp"

#include <goldfinch/backend/counting.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

namespace gf = goldfinch;

namespace {

template <class F>
double seconds(F const& f) {
    auto const start = std::chrono::steady_clock::now();
    f();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}
double median(std::vector<double> times) {
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
}

template <class Model>
void measure(std::string const& cache, std::vector<timing>& results) {
    auto const lm = Model::random(1);
    gf::session session{lm};
    std::vector<gf::token> const warm_up(256, 1), prompt(4096, 2);
    session.append(warm_up);
    session.logits();
    auto const decode = [&] {
        std::vector<double> times;
        for (int i = 0; i < 20; ++i) times.push_back(seconds([&] { session.step(3); }));
        gf::cost const work = gf::decode_cost<Model>(session.position());
        std::string const what = cache + ": a step at " + std::to_string(session.position()) + " tokens";
        results.push_back({what, median(times), work.weight_bytes + work.cache_bytes, work.flops});
    };
    decode();
    double const read = seconds([&] { session.append(prompt); });
    gf::cost const work = gf::prefill_cost<Model>(prompt.size());
    results.push_back({cache + ": pre-fill of " + std::to_string(prompt.size()) + " tokens", read, work.weight_bytes + work.cache_bytes, work.flops});
    decode();
}

}  // namespace

int main() try {
    limits const most = measure_limits();
    std::vector<timing> results = time_kernels();
    measure<expanded>("expanded_kv<bf16>", results);
    measure<compressed>("compressed_keys<bf16>", results);

    std::printf("copy: %.0f GB/s read and written; ", most.copy * 1e-9);
    if (most.gemm > 0)
        std::printf("bf16 matrix product: %.0f TFLOP/s\n", most.gemm * 1e-12);
    else
        std::printf("no cuBLAS: least times are those of bytes\n");
    std::printf("%-56s %12s %12s %6s %8s %8s\n", "", "time, us", "least, us", "share", "GB/s", "TFLOP/s");
    for (timing const& t : results) {
        double const least = std::max(t.bytes / most.copy, most.gemm > 0 ? t.flops / most.gemm : 0);
        std::printf("%-56s %12.1f %12.1f %6.2f %8.0f %8.1f\n", t.what.c_str(), t.seconds * 1e6, least * 1e6, least / t.seconds, t.bytes / t.seconds * 1e-9,
                    t.flops / t.seconds * 1e-12);
    }
} catch (gf::cuda_error const& e) {
    std::printf("skipped: kernels, pre-fill and decode on a GPU: %s\n", e.what());
} catch (std::exception const& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
}
