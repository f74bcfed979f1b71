// SPDX-License-Identifier: Apache-2.0
// fuzz_checkpoint [n [seed]]: n damaged checkpoints of each kind (default 100000) through the readers, in memory. Build it
// with -fsanitize=address,undefined. On a failure the file is written to fuzz_failure.bin.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <string>

#include "checkpoint_target.hpp"

int main(int argc, char** argv) {
    std::size_t const n = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 100000;
    std::uint64_t const seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
    fuzz::small_model const model;
    if (!fuzz::read_all(model.safetensors) || !fuzz::read_all(model.torch)) return std::puts("the undamaged model does not load"), 1;
    for (fuzz::damage const kind : fuzz::all_damages) {
        fuzz::mutator mutate(seed);
        std::size_t loaded = 0;
        double slowest = 0;
        for (std::size_t i = 0; i < n; ++i) {
            std::string const file = fuzz::damaged(model, kind, mutate);
            auto const start = std::chrono::steady_clock::now();
            try {
                loaded += fuzz::read_all(file);
            } catch (std::exception const& e) {
                std::ofstream("fuzz_failure.bin", std::ios::binary) << file;
                std::printf("kind %d, case %zu, seed %llu: %s\n", static_cast<int>(kind), i, static_cast<unsigned long long>(seed), e.what());
                return 1;
            }
            slowest = std::max(slowest, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
        }
        std::printf("kind %d: %zu files, %zu still load, slowest %.1f ms\n", static_cast<int>(kind), n, loaded, 1000 * slowest);
    }
}
