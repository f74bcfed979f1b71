// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include "vocabulary_fuzz.hpp"

TEST_CASE("world tokenizer: mutations of a vocabulary file load or are refused") {
    auto const result = text_test::fuzz_vocabulary(3000, 1);
    CHECK(result.loaded > 100);
    CHECK(result.refused > 1000);
}
