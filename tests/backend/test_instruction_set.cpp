// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cstdlib>
#include <string>

#include <goldfinch/backend/cpu.hpp>
#include <goldfinch/backend/simd/select.hpp>

// A program that holds the instruction set it was compiled for, and no other: test_kernels is one with several.

namespace gf = goldfinch;

TEST_CASE("a header-only build has its own instruction set") {
    auto const chosen = [](char const* asked) {
        ::setenv("GOLDFINCH_ISA", asked, 1);
        std::string result;
        try {
            result = gf::detail::find_instruction_set();
        } catch (gf::config_error const& e) {
            result = e.what();
        }
        ::unsetenv("GOLDFINCH_ISA");
        return result;
    };
    std::string const own = gf::instruction_set();
    CHECK(own == GOLDFINCH_TEXT(GOLDFINCH_SET));
    CHECK(chosen("") == own);
    CHECK(chosen(own.c_str()) == own);
    std::string const other = own == "sse2" ? "avx2" : "sse2";
    CHECK(chosen(other.c_str())
              .starts_with("the environment variable GOLDFINCH_ISA asks for the instruction set '" + other + "'; the program holds " + own +
                           ", and this CPU has "));
    CHECK_NOTHROW(gf::detail::require_instruction_set());
}

TEST_CASE("operations' macros call the build's kernels") {
    gf::cpu_runtime runtime(1);
    gf::cpu_runtime::lease const lease{runtime};
    float const w[] = {1, 2, 3, 4, 5, 6}, x[] = {1, 10, 100};
    float y[2], scale;
    gf::int8 packed[2];
    GOLDFINCH_WEIGHT_KERNEL(float, linear)(lease.executor(), w, {x, 1, 3, 3}, {y, 1, 2, 2});
    CHECK(y[0] == 321);
    GOLDFINCH_KERNEL(add)(lease.executor(), {y, 1, 1, 1}, {y + 1, 1, 1, 1});
    CHECK(y[1] == 975);
    GOLDFINCH_VALUE_KERNEL(gf::int8, pack)(lease.executor(), {y, 1, 2, 2}, {packed, 1, 2, 2}, &scale);
    CHECK(packed[1] == 127);
}
