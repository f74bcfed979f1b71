// SPDX-License-Identifier: Apache-2.0
#include "kernel_test.hpp"

#include <goldfinch/backend/simd/quantized.hpp>
#include <goldfinch/weight/formats.hpp>

namespace {

/// Rows of which each product is computed, for some of them beside others: with an executor that asks for the same bits whatever rows there are, and with any
/// for as many as get the bits of one alone.
struct sizes {
    bool batch_invariant, rounds_few;
    std::size_t tokens;
};
constexpr sizes any_number{true, false, 70}, any_number_rounded{true, true, 70}, few{false, false, 16};

/// Whether product(at, first, n, y), which computes rows [first, first + n) of some, gives each the same bits whatever rows are beside it.
template <class Product>
bool same_rows(sizes const& of, std::size_t out, Product const& product) {
    static on one, two(2);
    for (on* place : {&one, &two}) {
        gf::cpu_executor at = place->be;
        at.batch_invariant = of.batch_invariant, at.rounds_few = of.rounds_few;
        field<float> all({of.tokens, out});
        product(at, std::size_t{0}, of.tokens, rows<float>(all));
        for (std::size_t n : counts{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 16, 17, 33, 65}) {
            if (n > of.tokens) break;
            for (std::size_t first : {std::size_t{0}, std::min<std::size_t>(1, of.tokens - n), of.tokens - n}) {
                field<float> some({n, out});
                product(at, first, n, rows<float>(some));
                for (std::size_t t = 0; t < n; ++t)
                    if (!std::equal(some[t], some[t] + out, all[first + t])) return false;
            }
        }
    }
    return true;
}

}  // namespace

TEST_CASE_TEMPLATE("products with weights give a row the same bits whatever rows are beside it", T, float, gf::bf16) {
    each_set([&](kernel_table const& table) {
        for (sizes const& of : {any_number, any_number_rounded, few}) {
            CAPTURE(of.tokens);
            CAPTURE(of.rounds_few);
            for (std::size_t in : counts{33, 600, 1100}) {
                CAPTURE(in);
                constexpr std::size_t out = 45, rank = 35;
                field<T> const w({out, in}, 0.1f), w_of_inputs({in, out}, 0.1f), w1({in, rank}, 0.1f), w2({rank, out}, 0.1f);
                field<float> const x({of.tokens, in}), h({of.tokens, rank});
                CHECK(same_rows(of, out, [&](gf::cpu_executor const& at, std::size_t first, std::size_t n, rows<float> y) {
                    weights<T>(table).linear(at, w[0], {x[first], n, in, in}, y);
                }));
                CHECK(same_rows(of, out, [&](gf::cpu_executor const& at, std::size_t first, std::size_t n, rows<float> y) {
                    weights<T>(table).sparse_linear(at, w_of_inputs[0], {x[first], n, in, in}, y);
                }));
                CHECK(same_rows(of, rank, [&](gf::cpu_executor const& at, std::size_t first, std::size_t n, rows<float> y) {
                    weights<T>(table).lora_down(at, {x[first], n, in, in}, w1[0], y);
                }));
                CHECK(same_rows(of, out, [&](gf::cpu_executor const& at, std::size_t first, std::size_t n, rows<float> y) {
                    for (std::size_t t = 0; t < n; ++t) std::fill_n(y[t], out, 0.5f);
                    weights<T>(table).lora_up(at, nullptr, {h[first], n, rank, rank}, w2[0], y);
                }));
            }
            constexpr std::size_t d = 75, rank = 20;
            field<T> const mu({1, d}), w2({rank, d});
            field<float> const x({of.tokens + 1, d}), h({of.tokens, rank});
            std::vector<float const*> before;
            for (std::size_t t = 0; t < of.tokens; ++t) before.push_back(x[t]);
            CHECK(same_rows(of, d, [&](gf::cpu_executor const& at, std::size_t first, std::size_t n, rows<float> y) {
                T const* const m = mu[0];
                weights<T>(table).token_shift_lora(at, {x[first + 1], n, d, d}, &before[first], 1, &m, {h[first], n, rank, rank}, w2[0], &y);
            }));
        }
    });
}

TEST_CASE("products with packed weights give a row the same bits whatever rows are beside it") {
    each_set([&](kernel_table const& table) {
        for (std::size_t in : counts{33, 600, 1030}) {
            constexpr std::size_t out = 45;
            CAPTURE(in);
            field<float> const x({any_number.tokens, in});
            std::vector<std::byte> packed((out + 1) * (in + 3)), scale(out * ((in + 63) / 64) * 2);
            for (std::size_t i = 0; i < packed.size(); ++i) packed[i] = static_cast<std::byte>(i * 37);
            for (std::size_t i = 0; i < scale.size(); i += 2) {
                gf::bf16 const s(0.01f * static_cast<float>(i % 7));
                std::memcpy(&scale[i], &s, 2);
            }
            auto const check = [&](auto format) {
                for (sizes const& of : {any_number, few})
                    CHECK(same_rows(of, out, [&](gf::cpu_executor const& at, std::size_t first, std::size_t n, rows<float> y) {
                        weights<decltype(format)>(table).linear(at, {packed.data(), scale.data()}, {x[first], n, in, in}, y);
                    }));
                for (sizes const& of : {any_number, few})
                    CHECK(same_rows(of, out, [&](gf::cpu_executor const& at, std::size_t first, std::size_t n, rows<float> y) {
                        weights<decltype(format)>(table).sparse_linear(at, {packed.data(), scale.data()}, {x[first], n, in, in}, y);
                    }));
            };
            check(gf::detail::packed_integers<8>{});
            check(gf::detail::packed_integers<4>{});
        }
    });
}

TEST_CASE_TEMPLATE("attention gives up to 16 queries the bits of one alone, whatever keys come behind what it sees", Value, float, gf::bf16) {
    each_set([&](kernel_table const& table) {
        for (std::size_t n : counts{16, 40, 64}) {
            constexpr std::size_t heads = 2, keys = 70;
            CAPTURE(n);
            std::size_t const width = heads * n;
            field<float> const q({few.tokens, width});
            field<Value> const k({keys, width}), v({keys, width});
            CHECK(same_rows(few, width, [&](gf::cpu_executor const& at, std::size_t first, std::size_t count, rows<float> y) {
                field<float> max({count, heads}), total({count, heads});
                for (std::size_t t = 0; t < count; ++t) {
                    std::fill_n(max[t], heads, -INFINITY);
                    std::fill_n(total[t], heads, 0.0f);
                    std::fill_n(y[t], width, 0.0f);
                }
                std::size_t const seen_by_last = keys - few.tokens + first + count;
                values<Value>(table).attend(at, {heads,
                                                 n,
                                                 {q[first], count, width, width},
                                                 {k[0], seen_by_last, width, width},
                                                 {v[0], seen_by_last, width, width},
                                                 {max, total, y},
                                                 seen_by_last - count + 1});
            }));
        }
    });
}
