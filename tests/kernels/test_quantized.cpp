// SPDX-License-Identifier: Apache-2.0
#include "packed_field.hpp"

#include <goldfinch/backend/simd/quantized.hpp>
#include <goldfinch/weight/formats.hpp>

namespace {

template <std::size_t Bits>
auto product(kernel_table const& table) {
    return weights<gf::detail::packed_integers<Bits>>(table).linear;
}

/// y = w x, with 1, 2 and 3 threads: all agree bit for bit, hold the bound, and touch nothing else.
template <std::size_t Bits>
bool holds(kernel_table const& table, std::size_t out, std::size_t in, std::size_t tokens, std::size_t offset = 1) {
    static on one(1), two(2), three(3);
    packed_field<Bits> const w(out, in);
    field<float> const x({tokens, in, offset % 16 + 2, offset % 3}, 0.5f);
    field<float> y({tokens, out, offset % 16 + 1, offset % 5});
    field<float> z = y, z3 = y;
    product<Bits>(table)(one.be, w.rows(), x, y);
    product<Bits>(table)(two.be, w.rows(), x, z);
    product<Bits>(table)(three.be, w.rows(), x, z3);
    if (!(y == z) || !(y == z3) || !y.guards_intact()) return false;
    return packed_product_holds(table, w, out, x, tokens, y);
}

template <std::size_t Bits>
struct bits {
    static constexpr std::size_t value = Bits;
};
#define FORMATS bits<4>, bits<8>

}  // namespace

TEST_CASE_TEMPLATE("packed integers: every remainder of rows, depth and tokens", Format, FORMATS) {
    constexpr std::size_t n = Format::value;
    each_set([](kernel_table const& table) {
        for (std::size_t tokens = 0; tokens <= 67; tokens += tokens < 10 ? 1 : 6)
            for (std::size_t in : counts{1, 7, 33, 34, 64, 65, 68, 100})
                CHECK_MESSAGE(holds<n>(table, 7, in, tokens), "in " << in << " tokens " << tokens);
        for (std::size_t out = 1; out <= 25; ++out)
            for (std::size_t tokens : counts{1, 3, 9, 33})
                CHECK_MESSAGE(holds<n>(table, out, 67, tokens, out), "out " << out << " tokens " << tokens);
        for (std::size_t in = 1; in <= 70; in += 3)
            for (std::size_t tokens : counts{1, 8, 9}) CHECK_MESSAGE(holds<n>(table, 5, in, tokens, in), "in " << in << " tokens " << tokens);
    });
}

TEST_CASE_TEMPLATE("packed integers: several runs of every extent", Format, FORMATS) {
    constexpr std::size_t n = Format::value;
    each_set([](kernel_table const& table) {
        CHECK(holds<n>(table, 300, 816, 1));  // runs of rows for few tokens
        CHECK(holds<n>(table, 130, 1100, 8));
        CHECK(holds<n>(table, 130, 1100, 40));
        CHECK(holds<n>(table, 26, 40, 530));
        CHECK(holds<n>(table, 40, 60000, 12));  // slabs of rows for many tokens
        CHECK(holds<n>(table, 2, 34, 300));
    });
}

TEST_CASE_TEMPLATE("packed integers: rows do not depend on their neighbours", Format, FORMATS) {
    constexpr std::size_t n = Format::value, out = 31, in = 600;
    on here;
    packed_field<n> const w(out, in);
    field<float> const x({40, in});
    each_set([&](kernel_table const& table) {
        for (std::size_t tokens : counts{1, 4, 40}) {
            field<float> all({tokens, out}), part = all;
            rows<float const> const some{x[0], tokens, in, in};
            product<n>(table)(here.be, w.rows(), some, all);
            for (std::size_t first : counts{5, 30}) {
                product<n>(table)(here.be, w.rows(first), some, {part[0] + first, tokens, out, out - first});
                for (std::size_t t = 0; t < tokens; ++t) CHECK(std::equal(all[t] + first, all[t] + out, part[t] + first));
            }
        }
    });
}

TEST_CASE_TEMPLATE("packed integers: a scale that is no number spoils its rows alone", Format, FORMATS) {
    constexpr std::size_t n = Format::value, out = 7, in = 130, words = (in * n + 31) / 32;
    on here;
    std::vector<std::uint32_t> packed(out * words, 0x12345678u);
    std::vector<gf::bf16> scales(out * 3, gf::bf16(0.5f));
    scales[4].bits = 0x7fc0;  // of row 1
    gf::detail::packed_rows const w{reinterpret_cast<std::byte const*>(packed.data()), reinterpret_cast<std::byte const*>(scales.data())};
    each_set([&](kernel_table const& table) {
        for (std::size_t tokens : counts{1, 20}) {
            field<float> const x({tokens, in});
            field<float> y({tokens, out});
            product<n>(table)(here.be, w, x, y);
            for (std::size_t t = 0; t < tokens; ++t)
                for (std::size_t o = 0; o < out; ++o) CHECK(std::isnan(y[t][o]) == (o == 1));
        }
    });
}
