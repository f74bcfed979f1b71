// SPDX-License-Identifier: Apache-2.0
#include "fuzz/model_target.hpp"

#include <doctest/doctest.h>

TEST_CASE_TEMPLATE("damaged checkpoints and sessions load and run, or are refused by name", Weight, float, gf::bf16, gf::int8, gf::int4) {
    fuzz::model_files<Weight> files;
    for (int kind = 0; kind < files.damages; ++kind) {
        fuzz::mutator mutate(2026);
        INFO("kind ", kind);
        constexpr std::size_t cases = 300;
        std::size_t accepted = 0;
        for (std::size_t i = 0; i < cases; ++i) accepted += files(static_cast<typename fuzz::model_files<Weight>::damage>(kind), mutate);
        CHECK(accepted < cases);
    }
}
