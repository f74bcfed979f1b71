// SPDX-License-Identifier: Apache-2.0
// Pre-fill and decode of L24 D2048 in bf16 on a GPU: tokens a second, and the bytes and FLOPs that decode_cost and prefill_cost count over that time.

#include "model.hpp"

#include <goldfinch/backend/counting.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
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
void measure(char const* cache) {
    auto const lm = Model::random(1);
    gf::session session{lm};
    std::vector<gf::token> const warm_up(256, 1), prompt(4096, 2);
    session.append(warm_up);
    session.logits();
    for (int round = 0; round < 2; ++round) {
        std::vector<double> times;
        for (int i = 0; i < 20; ++i) times.push_back(seconds([&] { session.step(3); }));
        double const time = median(times);
        gf::cost const work = gf::decode_cost<Model>(session.position());
        std::printf("%s: decode at %zu tokens: %.1f tokens/s, %.0f GB/s\n", cache, session.position(), 1 / time, (work.weight_bytes + work.cache_bytes) / time * 1e-9);
        if (round > 0) break;
        double const read = seconds([&] { session.append(prompt); });
        std::printf("%s: pre-fill of %zu tokens: %.0f tokens/s, %.1f TFLOP/s\n", cache, prompt.size(), static_cast<double>(prompt.size()) / read,
                    gf::prefill_cost<Model>(prompt.size()).flops / read * 1e-12);
    }
}

}  // namespace

int main() try {
    measure<expanded>("expanded_kv<bf16>");
    measure<compressed>("compressed_keys<bf16>");
} catch (gf::cuda_error const& e) {
    std::printf("skipped: pre-fill and decode on a GPU: %s\n", e.what());
} catch (gf::error const& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
}
