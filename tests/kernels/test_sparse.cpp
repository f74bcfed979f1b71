// SPDX-License-Identifier: Apache-2.0
#include "packed_field.hpp"

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

namespace {

template <std::size_t Bits>
struct bits {
    static constexpr std::size_t value = Bits;
};
#define FORMATS bits<4>, bits<8>

template <std::size_t Bits>
gf::detail::weight_kernels<gf::detail::packed_integers<Bits>> const& kernels(kernel_table const& table) {
    return weights<gf::detail::packed_integers<Bits>>(table);
}

/// Activations of which two thirds are zero, and block 1 all of it.
field<float> sparse_activations(layout const& of) {
    field<float> x(of, 0.5f);
    for (std::size_t t = 0; t < x.size(); ++t)
        for (std::size_t k = 0; k < x.width(); ++k)
            if ((k % 3 != 0 && (t + k) % 5 != 1) || k / 64 == 1) x[t][k] = k % 2 == 0 ? 0.0f : -0.0f;
    return x;
}

/// y = w x for integers w stored [in, out], with 1, 2 and 3 threads: all agree bit for bit, hold the bound, and touch nothing else.
template <std::size_t Bits>
bool packed_holds(kernel_table const& table, std::size_t out, std::size_t in, std::size_t tokens, std::size_t offset = 1) {
    static on one(1), two(2), three(3);
    packed_field<Bits> const w(out, in);
    transposed_packed_field<Bits> const transposed(w, out, in);
    layout const of{tokens, in, offset % 16 + 2, offset % 3};
    for (field<float> const& x : {field<float>(of, 0.5f), sparse_activations(of)}) {
        field<float> y({tokens, out, offset % 16 + 1, offset % 5});
        field<float> z = y, z3 = y;
        kernels<Bits>(table).sparse_linear(one.be, transposed.rows(), x, y);
        kernels<Bits>(table).sparse_linear(two.be, transposed.rows(), x, z);
        kernels<Bits>(table).sparse_linear(three.be, transposed.rows(), x, z3);
        if (!(y == z) || !(y == z3) || !y.guards_intact() || !packed_product_holds(table, w, out, x, tokens, y)) return false;
    }
    return true;
}

}  // namespace

TEST_CASE_TEMPLATE("sparse_linear of packed integers: every remainder of columns, depth and tokens", Format, FORMATS) {
    constexpr std::size_t n = Format::value;
    each_set([](kernel_table const& table) {
        for (std::size_t tokens = 0; tokens <= 67; tokens += tokens < 10 ? 1 : 6)
            for (std::size_t in : counts{1, 7, 33, 64, 65, 100})
                CHECK_MESSAGE(packed_holds<n>(table, 7, in, tokens), "in " << in << " tokens " << tokens);
        for (std::size_t out = 0; out <= 131; out += out < 40 ? 1 : 7)
            for (std::size_t tokens : counts{1, 3, 33})
                CHECK_MESSAGE(packed_holds<n>(table, out, 67, tokens, out), "out " << out << " tokens " << tokens);
    });
}

TEST_CASE_TEMPLATE("sparse_linear of packed integers: several blocks of every extent", Format, FORMATS) {
    constexpr std::size_t n = Format::value;
    each_set([](kernel_table const& table) {
        CHECK(packed_holds<n>(table, 300, 816, 1));     // several pieces
        CHECK(packed_holds<n>(table, 700, 500, 30));    // with more threads than pieces, tasks of outputs
        CHECK(packed_holds<n>(table, 130, 1100, 40));
        CHECK(packed_holds<n>(table, 26, 40, 530));
        CHECK(packed_holds<n>(table, 100, 11000, 33));  // slabs of outputs
    });
}

TEST_CASE_TEMPLATE("sparse_linear of packed integers: up to 32 tokens have the bits of one", Format, FORMATS) {
    constexpr std::size_t n = Format::value;
    on here(2);
    auto const check = [&](std::size_t out, std::size_t in, counts const& sizes) {
        packed_field<n> const w(out, in);
        transposed_packed_field<n> const transposed(w, out, in);
        field<float> x = sparse_activations({32, in});
        each_set([&](kernel_table const& table) {
            for (std::size_t tokens : sizes) {
                field<float> all({tokens, out}), each = all;
                kernels<n>(table).sparse_linear(here.be, transposed.rows(), x.part(0, tokens), all);
                for (std::size_t t = 0; t < tokens; ++t) kernels<n>(table).sparse_linear(here.be, transposed.rows(), x.part(t, 1), each.part(t, 1));
                CHECK(all == each);
            }
        });
    };
    check(70, 600, {2, 5, 16, 32});
    check(1500, 2100, {32});  // too many for sums of pieces
}

TEST_CASE_TEMPLATE("sparse_linear of packed integers: many tokens have the bits of weights stored by rows where they are rounded", Format, FORMATS) {
    constexpr std::size_t n = Format::value, out = 45, tokens = 40;
    on here(2);
    for (std::size_t in : counts{7, 130, 700}) {
        packed_field<n> const w(out, in);
        transposed_packed_field<n> const transposed(w, out, in);
        field<float> const x = sparse_activations({tokens, in});
        each_set([&](kernel_table const& table) {
            if (packed_rounding(table, tokens) == 0) return;
            field<float> y({tokens, out}), z = y;
            kernels<n>(table).sparse_linear(here.be, transposed.rows(), x, y);
            kernels<n>(table).linear(here.be, w.rows(), x, z);
            CHECK(y == z);
        });
    }
}

TEST_CASE_TEMPLATE("sparse_linear of packed integers: what is no number shows, in its token alone", Format, FORMATS) {
    constexpr std::size_t n = Format::value, out = 21, in = 130;
    on here;
    packed_field<n> const w(out, in);
    transposed_packed_field<n> const transposed(w, out, in);
    each_set([&](kernel_table const& table) {
        for (std::size_t tokens : counts{1, 4, 40}) {
            field<float> x = sparse_activations({tokens, in});
            field<float> y({tokens, out});
            x[tokens - 1][5] = std::numeric_limits<float>::infinity();
            kernels<n>(table).sparse_linear(here.be, transposed.rows(), x, y);
            for (std::size_t t = 0; t < tokens; ++t)
                for (std::size_t o = 0; o < out; ++o) CHECK(std::isfinite(y[t][o]) == (t + 1 < tokens));
        }
    });
}

TEST_CASE_TEMPLATE("sparse_linear of packed integers: a scale that is no number spoils its output alone", Format, FORMATS) {
    constexpr std::size_t n = Format::value, out = 7, in = 130;
    on here;
    std::vector<std::byte> packed(in * ((out * n + 7) / 8), std::byte{0x35});
    std::vector<gf::bf16> scales(3 * out, gf::bf16(0.5f));
    scales[out + 1].bits = 0x7fc0;  // of block 1 and output 1
    gf::detail::packed_rows const w{packed.data(), reinterpret_cast<std::byte const*>(scales.data())};
    each_set([&](kernel_table const& table) {
        for (std::size_t tokens : counts{1, 20, 40}) {
            field<float> const x({tokens, in});
            field<float> y({tokens, out});
            kernels<n>(table).sparse_linear(here.be, w, x, y);
            for (std::size_t t = 0; t < tokens; ++t)
                for (std::size_t o = 0; o < out; ++o) CHECK(std::isnan(y[t][o]) == (o == 1));
        }
    });
}

TEST_CASE_TEMPLATE("sparse_linear of packed integers: what is multiplied by zero adds nothing", Format, FORMATS) {
    constexpr std::size_t n = Format::value, out = 21, in = 200;
    on here;
    packed_field<n> const w(out, in);
    transposed_packed_field<n> const transposed(w, out, in);
    each_set([&](kernel_table const& table) {
        field<float> x({1, in}), y({1, out});
        for (std::size_t k = 0; k < in; ++k) x[0][k] = 0;
        kernels<n>(table).sparse_linear(here.be, transposed.rows(), x, y);
        for (std::size_t o = 0; o < out; ++o) CHECK(y[0][o] == 0);
    });
}
