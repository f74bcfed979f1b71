// SPDX-License-Identifier: Apache-2.0
#include "kernel_test.hpp"

#include <type_traits>

namespace {

/// y = w x for w stored [out, in].
template <class T>
bool holds(kernel_table const& table, std::size_t out, std::size_t in, std::size_t tokens, std::size_t offset = 1) {
    auto const weight = [in](std::size_t k, std::size_t o) { return o * in + k; };
    if (std::is_same_v<T, gf::bf16> && rounds_to_bf16(table.instruction_set) && tokens > few_rows)
        return product_holds<T, gf::bf16>(in, out, tokens, offset, weight, weights<T>(table).linear);
    return product_holds<T>(in, out, tokens, offset, weight, weights<T>(table).linear);
}

}  // namespace

TEST_CASE_TEMPLATE("linear: every remainder of rows, depth and tokens", T, float, gf::bf16, gf::half) {
    each_set([](kernel_table const& table) {
        for (std::size_t tokens = 0; tokens <= 67; tokens += tokens < 10 ? 1 : 3)
            for (std::size_t in = 1; in <= 33; in += 4) CHECK_MESSAGE(holds<T>(table, 7, in, tokens), "in " << in << " tokens " << tokens);
        for (std::size_t out = 1; out <= 25; ++out)
            for (std::size_t tokens : counts{1, 3, 9, 33})
                CHECK_MESSAGE(holds<T>(table, out, 35, tokens, out), "out " << out << " tokens " << tokens);
        for (std::size_t in = 1; in <= 33; ++in)
            for (std::size_t tokens : counts{1, 2, 4, 11}) CHECK_MESSAGE(holds<T>(table, 5, in, tokens, in), "in " << in << " tokens " << tokens);
    });
}

TEST_CASE_TEMPLATE("linear: several blocks of every extent", T, float, gf::bf16) {
    each_set([](kernel_table const& table) {
        CHECK(holds<T>(table, 130, 1100, 3));   // blocks of rows for few tokens
        CHECK(holds<T>(table, 130, 1100, 40));  // blocks of depth
        CHECK(holds<T>(table, 26, 40, 530));    // blocks of tokens, and a remainder with few
        CHECK(holds<T>(table, 2, 34, 1));
        CHECK(holds<T>(table, 2, 34, 300));
        CHECK(holds<T>(table, 500, 9, 70));
    });
}

TEST_CASE_TEMPLATE("linear: rows do not depend on their neighbours", T, float, gf::bf16) {
    constexpr std::size_t out = 31, in = 600;
    on here;
    field<T> const w({out, in});
    field<float> const x({40, in});
    each_set([&](kernel_table const& table) {
        for (std::size_t tokens : counts{1, 4, 40}) {
            field<float> all({tokens, out}), part = all;
            rows<float const> const some{x[0], tokens, in, in};
            weights<T>(table).linear(here.be, w[0], some, all);
            for (std::size_t first : counts{5, 30}) {
                weights<T>(table).linear(here.be, w[first], some, {part[0] + first, tokens, out, out - first});
                for (std::size_t t = 0; t < tokens; ++t) CHECK(std::equal(all[t] + first, all[t] + out, part[t] + first));
            }
        }
    });
}
