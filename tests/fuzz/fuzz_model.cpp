// SPDX-License-Identifier: Apache-2.0
// fuzz_model [n [seed]]: n damaged files of each kind (default 100000), checkpoints and sessions, through whole models of
// float, bf16, int8 and int4. Build it with -fsanitize=address,undefined.
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "model_target.hpp"

template <class Weight>
bool run(std::size_t n, std::uint64_t seed, char const* weight) {
    fuzz::model_files<Weight> files;
    for (int kind = 0; kind < files.damages; ++kind) {
        fuzz::mutator mutate(seed);
        std::size_t accepted = 0;
        for (std::size_t i = 0; i < n; ++i) {
            try {
                accepted += files(static_cast<typename fuzz::model_files<Weight>::damage>(kind), mutate);
            } catch (std::exception const& e) {
                std::printf("%s, kind %d, case %zu, seed %llu: %s\n", weight, kind, i, static_cast<unsigned long long>(seed), e.what());
                return false;
            }
        }
        std::printf("%s, kind %d: %zu files, %zu accepted\n", weight, kind, n, accepted);
        std::fflush(stdout);
    }
    return true;
}

int main(int argc, char** argv) {
    std::size_t const n = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 100000;
    std::uint64_t const seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
    bool const plain = run<float>(n, seed, "float") && run<gf::bf16>(n, seed, "bf16");
    return plain && run<gf::int8>(n, seed, "int8") && run<gf::int4>(n, seed, "int4") ? 0 : 1;
}
