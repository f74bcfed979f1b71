// SPDX-License-Identifier: Apache-2.0
// fuzz_vocabulary [CASES [SEED]]: mutations of a vocabulary file, each loaded or refused.
#include <cstddef>
#include <cstdio>
#include <cstdint>
#include <exception>
#include <string>

#include "../text/vocabulary_fuzz.hpp"

int main(int argc, char** argv) {
    try {
        std::size_t const cases = argc > 1 ? std::stoull(argv[1]) : 100000;
        std::uint64_t const seed = argc > 2 ? std::stoull(argv[2]) : 1;
        auto const [loaded, refused] = text_test::fuzz_vocabulary(cases, seed);
        std::printf("vocabulary: %zu loaded, %zu refused\n", loaded, refused);
    } catch (std::exception const& e) {
        std::fprintf(stderr, "vocabulary: %s\n", e.what());
        return 1;
    }
}
