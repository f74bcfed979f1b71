// SPDX-License-Identifier: Apache-2.0
#include "kernel_test.hpp"

#include <cstdlib>
#include <string>
#include <string_view>

TEST_CASE("the environment chooses among the instruction sets that program and CPU have") {
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
    std::string best;
    std::size_t had = 0;
    for (gf::detail::held_set const* held = gf::detail::held_sets; held->name != nullptr; ++held)
        if (gf::detail::cpu_has(held->name)) {
            CHECK(chosen(held->name) == held->name);
            CHECK(std::string_view(held->table().instruction_set) == held->name);
            best = held->name;
            ++had;
        } else {
            CHECK(chosen(held->name).find(", and this CPU has ") != std::string::npos);
        }
    CHECK(had > 0);
    CHECK(chosen("") == best);
    CHECK(gf::instruction_set() == best);
    CHECK(gf::detail::kernels().instruction_set == best);
    std::string const unknown = chosen("avx513\n");
    CHECK(unknown.starts_with("the environment variable GOLDFINCH_ISA asks for the instruction set 'avx513\\x0a'; the program holds "));
    CHECK(unknown.ends_with(best));
}

TEST_CASE("operations' macros call the chosen kernels") {
    on here;
    float const w[] = {1, 2, 3, 4, 5, 6}, x[] = {1, 10, 100};
    float y[2], scale;
    gf::int8 packed[2];
    GOLDFINCH_WEIGHT_KERNEL(float, linear)(here.be, w, {x, 1, 3, 3}, {y, 1, 2, 2});
    CHECK(y[0] == 321);
    CHECK(y[1] == 654);
    GOLDFINCH_KERNEL(add)(here.be, rows<float>{y, 1, 1, 1}, {y + 1, 1, 1, 1});
    CHECK(y[1] == 975);
    GOLDFINCH_VALUE_KERNEL(gf::int8, pack)(here.be, rows<float>{y, 1, 2, 2}, {packed, 1, 2, 2}, &scale);
    CHECK(packed[1] == 127);
}
