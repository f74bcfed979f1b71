// SPDX-License-Identifier: Apache-2.0
#include "kernel_test.hpp"

#include <type_traits>

namespace {

/// y = x w for w stored [in, out].
template <class T>
bool holds(kernel_table const& table, std::size_t out, std::size_t in, std::size_t tokens, std::size_t offset = 1) {
    auto const weight = [out](std::size_t k, std::size_t o) { return k * out + o; };
    auto const multiply = weights<T>(table).sparse_linear;
    for (bool const zeros : {false, true}) {
        bool const rounds = std::is_same_v<T, gf::bf16> && rounds_to_bf16(table.instruction_set) && tokens > few_rows;
        if (!(rounds ? product_holds<T, gf::bf16>(in, out, tokens, offset, weight, multiply, zeros)
                     : product_holds<T>(in, out, tokens, offset, weight, multiply, zeros)))
            return false;
    }
    return true;
}

}  // namespace

TEST_CASE_TEMPLATE("sparse_linear: every remainder of columns, depth and tokens", T, float, gf::bf16, gf::half) {
    each_set([](kernel_table const& table) {
        for (std::size_t tokens = 0; tokens <= 67; tokens += tokens < 10 ? 1 : 3)
            for (std::size_t in = 1; in <= 33; in += 4) CHECK_MESSAGE(holds<T>(table, 7, in, tokens), "in " << in << " tokens " << tokens);
        for (std::size_t out = 1; out <= 67; ++out)
            for (std::size_t tokens : counts{1, 3, 33}) CHECK_MESSAGE(holds<T>(table, out, 35, tokens, out), "out " << out << " tokens " << tokens);
        for (std::size_t in = 1; in <= 33; ++in)
            for (std::size_t tokens : counts{1, 2, 11}) CHECK_MESSAGE(holds<T>(table, 5, in, tokens, in), "in " << in << " tokens " << tokens);
    });
}

TEST_CASE_TEMPLATE("sparse_linear: several blocks of every extent", T, float, gf::bf16) {
    each_set([](kernel_table const& table) {
        CHECK(holds<T>(table, 1500, 130, 1));   // tasks of columns
        CHECK(holds<T>(table, 700, 1100, 20));  // shorter ones, for more tokens
        CHECK(holds<T>(table, 130, 1100, 40));  // blocks of depth
        CHECK(holds<T>(table, 26, 40, 530));    // blocks of tokens, and a remainder with few
    });
}

TEST_CASE_TEMPLATE("sparse_linear: up to 32 tokens have the bits of one", T, float, gf::bf16) {
    constexpr std::size_t in = 300, out = 70;
    on here(2);
    field<T> const w({in, out});
    field<float> x({32, in});
    for (std::size_t t = 0; t < 32; ++t)
        for (std::size_t k = 0; k < in; ++k) x[t][k] = std::max(x[t][k], 0.0f);
    each_set([&](kernel_table const& table) {
        for (std::size_t tokens : counts{2, 5, 16, 32}) {
            field<float> all({tokens, out}), each = all;
            weights<T>(table).sparse_linear(here.be, w[0], x.part(0, tokens), all);
            for (std::size_t t = 0; t < tokens; ++t) weights<T>(table).sparse_linear(here.be, w[0], x.part(t, 1), each.part(t, 1));
            CHECK(all == each);
        }
    });
}

TEST_CASE("sparse_linear: what is multiplied by zero is not read") {
    constexpr std::size_t in = 40, out = 21;
    on here;
    field<gf::bf16> w({in, out});
    field<float> x({1, in});
    for (std::size_t k = 0; k < in; k += 2) {
        x[0][k] = 0;
        for (std::size_t o = 0; o < out; ++o) w[k][o] = gf::bf16(std::numeric_limits<float>::quiet_NaN());
    }
    each_set([&](kernel_table const& table) {
        field<float> y({1, out});
        weights<gf::bf16>(table).sparse_linear(here.be, w[0], x, y);
        for (std::size_t o = 0; o < out; ++o) CHECK(std::isfinite(y[0][o]));
        for (std::size_t k = 0; k < in; ++k) x[0][k] = 0;
        weights<gf::bf16>(table).sparse_linear(here.be, w[0], x, y);
        for (std::size_t o = 0; o < out; ++o) CHECK(y[0][o] == 0);
        for (std::size_t k = 1; k < in; k += 2) x[0][k] = random_normal();
    });
}
