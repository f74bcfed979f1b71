// SPDX-License-Identifier: Apache-2.0
#include "packed_field.hpp"

#include <bit>
#include <cstdint>

#include <goldfinch/backend/simd/kernels/amx_integers.hpp>
#include <goldfinch/backend/simd/kernels/bf16_few.hpp>
#include <goldfinch/backend/simd/kernels/bf16_product.hpp>
#include <goldfinch/backend/simd/kernels/lora.hpp>

// Products in tiles and by dot products, called by name: on every machine in the portable forms, in the processor's where this is compiled for them.

namespace {

namespace k = gf::kernel;

#if GOLDFINCH_AMX
#define FORMS k::portable_tiles, k::hardware_tiles
bool const permitted = (gf::detail::require_instruction_set(), true);
#else
#define FORMS k::portable_tiles
#endif
#if GOLDFINCH_AVX512_BF16
#define DOTS_FORMS k::portable_dots, k::hardware_dots
#else
#define DOTS_FORMS k::portable_dots
#endif
#define BF16_FORMS FORMS, DOTS_FORMS

/// y = w x in tiles, for w stored [out, in], or else [in, out], with x in one part and in two.
template <class Tiles, bool Transposed = false>
bool holds(std::size_t out, std::size_t in, std::size_t tokens, std::size_t offset = 1) {
    auto const weight = [=](std::size_t i, std::size_t o) { return Transposed ? i * out + o : o * in + i; };
    return product_holds<gf::bf16, gf::bf16>(in, out, tokens, offset, weight,
                                             [](gf::cpu_executor const& at, gf::bf16 const* w, rows<float const> x, rows<float> y) {
                                                 k::product_of_bf16<Tiles, 1, Transposed>(at, w, x, y);
                                             }) &&
           product_holds<gf::bf16, two_parts>(in, out, tokens, offset, weight,
                                              [](gf::cpu_executor const& at, gf::bf16 const* w, rows<float const> x, rows<float> y) {
                                                  k::product_of_bf16<Tiles, 2, Transposed>(at, w, x, y);
                                              });
}

/// The same for few rows, by dot products.
template <class Dots, bool Transposed>
bool few_hold(std::size_t out, std::size_t in, std::size_t tokens, std::size_t offset = 1) {
    auto const weight = [=](std::size_t i, std::size_t o) { return Transposed ? i * out + o : o * in + i; };
    return product_holds<gf::bf16, gf::bf16>(in, out, tokens, offset, weight,
                                             Transposed ? k::dots_few_transposed<Dots> : k::dots_few<Dots>);
}

/// The same of low-rank matrices.
template <class Tiles>
void low_rank_product(gf::cpu_executor const& at, gf::bf16 const* w, rows<float const> x, rows<float> y) {
    auto const keep = [&](std::size_t, std::size_t t, std::size_t column, float const* sums, std::size_t n) { std::copy_n(sums, n, y[t] + column); };
    k::rounded_products<Tiles>(at, 1, x, w, x.width, y.width, k::row_sink(keep));
}

/// Whether product(at, first, n, y), which computes rows [first, first + n) of 70, gives each the same bits whatever rows are beside it.
template <class Product>
bool same_rows(std::size_t out, Product const& product) {
    static on one, two(2);
    field<float> all({70, out});
    product(one.be, std::size_t{0}, std::size_t{70}, rows<float>(all));
    for (on* place : {&one, &two})
        for (std::size_t n : counts{1, 2, 15, 16, 17, 32, 33, 65})
            for (std::size_t first : counts{0, 1, 70 - n}) {
                field<float> some({n, out});
                product(place->be, first, n, rows<float>(some));
                for (std::size_t t = 0; t < n; ++t)
                    if (std::memcmp(some[t], all[first + t], out * sizeof(float)) != 0) return false;
            }
    return true;
}

float nan() { return std::bit_cast<float>(0x7fc00000u); }
bool is_nan(float x) { return (std::bit_cast<std::uint32_t>(x) & 0x7fffffffu) > 0x7f800000u; }

}  // namespace

TEST_CASE_TEMPLATE("tiles: products of bf16 and of bytes", Tiles, FORMS) {
    std::mt19937 random(5);
    gf::bf16 a[16][40], b[16][32];  // rows of a are apart
    float c[16][16], sum[16][16];
    std::uint8_t u[16][80];
    std::int8_t s[16][64];
    std::int32_t start[16], whole[16][16];
    for (auto& row : a)
        for (auto& x : row) x = gf::bf16(random_normal());
    for (auto& row : b)
        for (auto& x : row) x = gf::bf16(random_normal());
    for (auto& row : c)
        for (auto& x : row) x = random_normal();
    for (auto& row : u)
        for (auto& x : row) x = static_cast<std::uint8_t>(random());
    for (auto& row : s)
        for (auto& x : row) x = static_cast<std::int8_t>(random());
    for (auto& x : start) x = static_cast<std::int32_t>(random() % 1000);
    u[3][5] = 255, s[1][4 * 7 + 1] = -128;
    {
        Tiles tiles;
        tiles.load(k::amx_tile<7>{}, c, sizeof c[0]);
        tiles.load(k::amx_tile<2>{}, a, sizeof a[0]);
        tiles.load(k::amx_tile<5>{}, b, sizeof b[0]);
        tiles.add_bf16(k::amx_tile<7>{}, k::amx_tile<2>{}, k::amx_tile<5>{});
        tiles.store(k::amx_tile<7>{}, sum, sizeof sum[0]);
        tiles.load(k::amx_tile<0>{}, start, 0);
        tiles.load(k::amx_tile<3>{}, u, sizeof u[0]);
        tiles.load(k::amx_tile<6>{}, s, sizeof s[0]);
        tiles.add_bytes(k::amx_tile<0>{}, k::amx_tile<3>{}, k::amx_tile<6>{});
        tiles.store(k::amx_tile<0>{}, whole, sizeof whole[0]);
    }
    for (std::size_t i = 0; i < 16; ++i)
        for (std::size_t j = 0; j < 16; ++j) {
            double expected = static_cast<double>(c[i][j]), size = std::abs(expected);
            std::int32_t integer = start[j];
            for (std::size_t l = 0; l < 32; ++l) {
                double const p = static_cast<double>(static_cast<float>(a[i][l])) * static_cast<double>(static_cast<float>(b[l / 2][2 * j + l % 2]));
                expected += p, size += std::abs(p);
            }
            for (std::size_t l = 0; l < 64; ++l) integer += u[i][l] * s[l / 4][4 * j + l % 4];
            CHECK(std::abs(static_cast<double>(sum[i][j]) - expected) <= 5e-7 * size);
            CHECK(whole[i][j] == integer);
        }
    float zeros[16][16];
    Tiles tiles;
    tiles.load(k::amx_tile<1>{}, c, sizeof c[0]);
    tiles.zero(k::amx_tile<1>{});
    tiles.store(k::amx_tile<1>{}, zeros, sizeof zeros[0]);
    for (auto const& row : zeros)
        for (float x : row) CHECK(std::bit_cast<std::uint32_t>(x) == 0);
}

TEST_CASE("activations are rounded to the nearest bf16 and packed by pairs") {
    constexpr std::size_t stride = 37;
    std::vector<float> x(16 * stride);
    for (float& v : x) v = random_normal();
    for (std::size_t i = 0; i < 8; ++i) x[i] = std::bit_cast<float>(0x3f800000u + static_cast<std::uint32_t>(i) * 0x4000u);  // ties among them
    x[stride] = std::bit_cast<float>(0x7f800000u), x[stride + 1] = std::bit_cast<float>(0x7f7fffffu), x[stride + 2] = nan(), x[stride + 3] = -0.0f;
    for (std::size_t rows_there : counts{1, 7, 16})
        for (std::size_t columns : counts{1, 2, 15, 16, 17, 31, 32}) {
            alignas(64) gf::bf16 b[3][16][16][2];  // x in two parts, and in one
            k::pack_pairs<2>(x.data(), stride, rows_there, columns, b[0][0][0], 512);
            k::pack_pairs<1>(x.data(), stride, rows_there, columns, b[2][0][0], 512);
            for (std::size_t t = 0; t < 16; ++t)
                for (std::size_t i = 0; i < 32; ++i) {
                    bool const there = t < rows_there && i < columns;
                    float const value = there ? x[t * stride + i] : 0;
                    gf::bf16 const high(value), low(value - high);
                    CHECK(b[0][i / 2][t][i % 2].bits == high.bits);
                    CHECK(b[2][i / 2][t][i % 2].bits == high.bits);
                    bool const number = (std::bit_cast<std::uint32_t>(value - high) & 0x7fffffffu) < 0x7f800000u;
                    CHECK((!number || b[1][i / 2][t][i % 2].bits == low.bits));
                }
        }
}

TEST_CASE_TEMPLATE("bf16: every remainder of rows, depth and tokens", Tiles, BF16_FORMS) {
    for (std::size_t tokens : counts{0, 1, 2, 15, 16, 17, 31, 32, 33, 47, 48, 49, 65})
        for (std::size_t in : counts{1, 2, 31, 32, 33, 63, 64, 65}) CHECK_MESSAGE(holds<Tiles>(7, in, tokens), "in " << in << " tokens " << tokens);
    for (std::size_t out = 1; out <= 67; out += out < 14 || out > 30 ? 5 : 1)
        for (std::size_t tokens : counts{1, 17, 33}) CHECK_MESSAGE(holds<Tiles>(out, 35, tokens, out), "out " << out << " tokens " << tokens);
    CHECK(holds<Tiles>(32, 256, 32, 0));
    CHECK(holds<Tiles>(0, 40, 20));
}

TEST_CASE_TEMPLATE("bf16: several blocks of every extent", Tiles, BF16_FORMS) {
    CHECK(holds<Tiles>(64, 512, 64, 0));  // whole blocks of depth
    CHECK(holds<Tiles>(130, 1100, 40));   // and parts of one
    CHECK(holds<Tiles>(26, 40, 530));     // pieces of tokens
    CHECK(holds<Tiles>(2, 300, 300));     // parts of the tokens
    CHECK(holds<Tiles>(1200, 290, 33));   // groups of rows
    CHECK(holds<Tiles>(500, 9, 70));
}

TEST_CASE_TEMPLATE("bf16: weights stored [in, out]", Tiles, BF16_FORMS) {
    for (std::size_t in = 1; in <= 70; in += 23)
        for (std::size_t out : counts{1, 7, 31, 32, 33, 64, 70}) CHECK_MESSAGE((holds<Tiles, true>(out, in, 40, out)), "out " << out << " in " << in);
    CHECK((holds<Tiles, true>(130, 1100, 40)));
    CHECK((holds<Tiles, true>(1200, 290, 33)));
}

TEST_CASE_TEMPLATE("bf16: few rows by dot products, every remainder, and several blocks of every extent", Dots, DOTS_FORMS) {
    auto const check = [](std::size_t out, std::size_t in, std::size_t tokens, std::size_t offset = 1) {
        CHECK_MESSAGE((few_hold<Dots, false>(out, in, tokens, offset)), "out " << out << " in " << in << " tokens " << tokens);
        CHECK_MESSAGE((few_hold<Dots, true>(out, in, tokens, offset)), "transposed, out " << out << " in " << in << " tokens " << tokens);
    };
    for (std::size_t tokens : counts{0, 1, 5, 7, 8, 9, 16, 17, 31, 32})
        for (std::size_t in : counts{1, 2, 31, 32, 33, 63, 64, 65}) check(7, in, tokens);
    for (std::size_t out = 0; out <= 67; out += out < 14 || out > 30 ? 5 : 1)
        for (std::size_t tokens : counts{1, 8, 13}) check(out, 35, tokens, out);
    check(96, 1024, 8, 0), check(1100, 1100, 9), check(1200, 290, 8), check(2, 300, 32);
}

TEST_CASE_TEMPLATE("bf16: products with low-rank matrices, few rows and many", Tiles, BF16_FORMS) {
    for (std::size_t tokens : counts{0, 1, 8, 9, 65, 130})
        for (std::size_t in : counts{1, 33, 128}) {
            auto const weight = [](std::size_t i, std::size_t o) { return i * 70 + o; };
            CHECK((product_holds<gf::bf16, gf::bf16>(in, 70, tokens, 1, weight, low_rank_product<Tiles>)));
        }
}

TEST_CASE_TEMPLATE("bf16: rows have the same bits whatever is beside them", Tiles, BF16_FORMS) {
    for (std::size_t in : counts{33, 256, 600}) {
        constexpr std::size_t out = 45;
        field<gf::bf16> const w({out, in}, 0.1f);
        field<float> const x({70, in});
        CHECK(same_rows(out, [&](gf::cpu_executor const& at, std::size_t first, std::size_t n, rows<float> y) {
            k::product_of_bf16<Tiles, 1>(at, w[0], {x[first], n, in, in}, y);
        }));
        CHECK(same_rows(out, [&](gf::cpu_executor const& at, std::size_t first, std::size_t n, rows<float> y) {
            k::product_of_bf16<Tiles, 2>(at, w[0], {x[first], n, in, in}, y);
        }));
        // Nor on how many they are, where few have a form of their own.
        field<gf::bf16> const w_of_inputs({in, out}, 0.1f);
        CHECK(same_rows(out, [&](gf::cpu_executor const& at, std::size_t first, std::size_t n, rows<float> y) {
            low_rank_product<Tiles>(at, w_of_inputs[0], {x[first], n, in, in}, y);
        }));
        // Nor do outputs depend on where their rows of w are.
        static on here;
        field<float> all({20, out}), part = all;
        k::product_of_bf16<Tiles, 1>(here.be, w[0], {x[0], 20, in, in}, all);
        for (std::size_t first : counts{5, 30}) {
            k::product_of_bf16<Tiles, 1>(here.be, w[first], {x[0], 20, in, in}, {part[0] + first, 20, out, out - first});
            for (std::size_t t = 0; t < 20; ++t) CHECK(std::equal(all[t] + first, all[t] + out, part[t] + first));
        }
    }
}

TEST_CASE_TEMPLATE("bf16: what is no number spoils its row or token alone", Tiles, BF16_FORMS) {
    static on here;
    constexpr std::size_t out = 7, in = 35, tokens = 20;
    field<gf::bf16> w({out, in});
    field<float> x({tokens, in}), y({tokens, out});
    w[1][0] = gf::bf16(nan()), x[3][34] = nan();
    k::product_of_bf16<Tiles, 2>(here.be, w[0], x, y);
    for (std::size_t t = 0; t < tokens; ++t)
        for (std::size_t o = 0; o < out; ++o) CHECK(is_nan(y[t][o]) == (o == 1 || t == 3));
}

#if GOLDFINCH_AVX512_VNNI

namespace {

/// The same for w packed: within the rounding of x to 16 bits of the largest in its row, or 8 in one part; and with the same bits for w stored as its
/// transpose.
template <class Tiles, std::size_t Bits, std::size_t Parts>
bool packed_holds(std::size_t out, std::size_t in, std::size_t tokens, std::size_t offset = 1) {
    static on one(1), two(2), three(3);
    packed_field<Bits> const w(out, in);
    k::packed_matrix const matrix{w.rows(), in, (in * Bits + 31) / 32 * 4, (in + 63) / 64 * 2};
    field<float> const x({tokens, in, offset % 16 + 2, offset % 3}, 0.5f);
    field<float> y({tokens, out, offset % 16 + 1, offset % 5});
    field<float> z = y, z3 = y;
    k::product_of_integers<Tiles, Bits, Parts>(one.be, matrix, x, y);
    k::product_of_integers<Tiles, Bits, Parts>(two.be, matrix, x, z);
    k::product_of_integers<Tiles, Bits, Parts>(three.be, matrix, x, z3);
    if (!(y == z) || !(y == z3) || !y.guards_intact()) return false;
    transposed_packed_field<Bits> const transposed(w, out, in);
    k::product_of_integers<Tiles, Bits, Parts>(two.be, k::transposed_packed_matrix{transposed.rows(), in, out, (out * Bits + 7) / 8, 2 * out}, x, z);
    if (!(y == z) || !z.guards_intact()) return false;
    for (std::size_t t = 0; t < tokens; ++t)
        for (std::size_t o = 0; o < out; ++o) {
            double sum = 0, size = 0, all = 0, largest = 0;
            for (std::size_t i = 0; i < in; ++i) {
                double const v = static_cast<double>(x[t][i]), p = w(o, i) * v;
                sum += p, size += std::abs(p), all += std::abs(w(o, i));
                largest = std::max(largest, std::abs(v));
            }
            if (!(std::abs(static_cast<double>(y[t][o]) - sum) <= product_bound * size + all * largest / (Parts == 2 ? 65278 : 254))) return false;
        }
    return true;
}

template <class Tiles>
void check_packed() {
    auto const check = [](auto bits, std::size_t out, std::size_t in, std::size_t tokens, std::size_t offset = 1) {
        CHECK_MESSAGE((packed_holds<Tiles, bits, 1>(out, in, tokens, offset)), "one part, bits " << bits << " out " << out << " in " << in << " tokens " << tokens);
        CHECK_MESSAGE((packed_holds<Tiles, bits, 2>(out, in, tokens, offset)), "two parts, bits " << bits << " out " << out << " in " << in << " tokens " << tokens);
    };
    auto const check_all = [&](auto bits) {
        for (std::size_t tokens : counts{0, 1, 15, 16, 17, 33})
            for (std::size_t in : counts{1, 7, 33, 63, 64, 65, 127, 128, 130}) check(bits, 7, in, tokens);
        for (std::size_t out : counts{0, 1, 15, 16, 17, 31, 32, 33}) check(bits, out, 67, 18, out);
        check(bits, 16, 512, 16, 0), check(bits, 130, 1100, 40), check(bits, 26, 40, 530), check(bits, 2, 600, 300), check(bits, 600, 70, 33);
    };
    check_all(std::integral_constant<std::size_t, 8>{});
    check_all(std::integral_constant<std::size_t, 4>{});
}

template <class Tiles, std::size_t Bits, std::size_t Parts>
void check_packed_rows() {
    constexpr std::size_t out = 45, in = 700;
    packed_field<Bits> const w(out, in);
    k::packed_matrix const matrix{w.rows(), in, in * Bits / 8, (in + 63) / 64 * 2};
    field<float> x({70, in});
    CHECK(same_rows(out, [&](gf::cpu_executor const& at, std::size_t first, std::size_t n, rows<float> y) {
        k::product_of_integers<Tiles, Bits, Parts>(at, matrix, {x[first], n, in, in}, y);
    }));
    static on here;
    field<float> y({20, out});
    x[3][699] = nan();
    k::product_of_integers<Tiles, Bits, Parts>(here.be, matrix, {x[0], 20, in, in}, y);
    for (std::size_t t = 0; t < 20; ++t)
        for (std::size_t o = 0; o < out; ++o) CHECK(is_nan(y[t][o]) == (t == 3));
}

}  // namespace

/// Few tokens with columns in lanes and with transposed weights: which it is depends on the processor.
template <std::size_t Bits>
void check_packed_orders() {
    static on here(2);
    constexpr std::size_t out = 45;
    for (std::size_t in : counts{7, 64, 130, 700}) {
        packed_field<Bits> const w(out, in);
        k::packed_matrix const matrix{w.rows(), in, (in * Bits + 31) / 32 * 4, (in + 63) / 64 * 2};
        for (std::size_t tokens = 1; tokens <= few_rows; ++tokens) {
            field<float> const x({tokens, in});
            field<float> y({tokens, out}), z = y;
            k::rounded_few<Bits>(here.be, matrix, x, y);
            k::rounded_many<Bits, 2>(here.be, matrix, x, z);
            CHECK_MESSAGE(y == z, "bits " << Bits << " in " << in << " tokens " << tokens);
        }
    }
}

TEST_CASE("packed integers: lanes of columns and transposed weights give the same bits") {
    check_packed_orders<8>();
    check_packed_orders<4>();
}

TEST_CASE_TEMPLATE("packed integers in tiles: every remainder, and several blocks of every extent", Tiles, FORMS) { check_packed<Tiles>(); }

TEST_CASE_TEMPLATE("packed integers in tiles: rows have the same bits whatever is beside them", Tiles, FORMS) {
    check_packed_rows<Tiles, 8, 1>();
    check_packed_rows<Tiles, 8, 2>();
    check_packed_rows<Tiles, 4, 1>();
    check_packed_rows<Tiles, 4, 2>();
}

#endif

#if GOLDFINCH_AMX

TEST_CASE("the processor's tiles compute what the portable ones do") {
    static on here(2);
    constexpr std::size_t out = 100, in = 900, tokens = 70;
    field<float> const x({tokens, in});
    field<float> y({tokens, out}), z = y;
    field<gf::bf16> const w({out, in}, 0.1f);
    k::product_of_bf16<k::hardware_tiles, 1>(here.be, w[0], x, y);
    k::product_of_bf16<k::portable_tiles, 1>(here.be, w[0], x, z);
    CHECK(error(y, [&](std::size_t t, std::size_t i) { return static_cast<double>(z[t][i]); }) < 1e-5);
    packed_field<8> const bytes(out, in);
    k::packed_matrix const matrix{bytes.rows(), in, in, (in + 63) / 64 * 2};
    k::product_of_integers<k::hardware_tiles, 8, 2>(here.be, matrix, x, y);
    k::product_of_integers<k::portable_tiles, 8, 2>(here.be, matrix, x, z);
    CHECK(y == z);
}

#else

TEST_CASE("the processor's tiles") { MESSAGE("skipped: this is not compiled for AMX: products in the processor's tiles"); }

#endif
