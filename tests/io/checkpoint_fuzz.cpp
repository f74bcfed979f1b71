// SPDX-License-Identifier: Apache-2.0
#include "../fuzz/checkpoint_target.hpp"

#include <doctest/doctest.h>

TEST_CASE("checkpoint: damaged files load or give a load_error, nothing else") {
    fuzz::small_model const model;
    REQUIRE(fuzz::read_all(model.safetensors));
    REQUIRE(fuzz::read_all(model.torch));
    for (fuzz::damage const kind : fuzz::all_damages) {
        CAPTURE(static_cast<int>(kind));
        fuzz::mutator mutate(2026);
        std::size_t loaded = 0;
        std::string failure;
        for (int i = 0; i < 3000 && failure.empty(); ++i) {
            try {
                loaded += fuzz::read_all(fuzz::damaged(model, kind, mutate));
            } catch (std::exception const& e) {
                failure = "case " + std::to_string(i) + ": " + e.what();
            }
        }
        CHECK(failure == "");
        CHECK(loaded > 0);
        CHECK(loaded < 3000);
    }
}
