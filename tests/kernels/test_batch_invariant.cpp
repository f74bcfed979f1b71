// SPDX-License-Identifier: Apache-2.0
#include "kernel_test.hpp"

#include <goldfinch/weight/formats.hpp>

namespace {

constexpr std::size_t tokens = 70;

/// Whether product(at, first, n, y), which computes rows [first, first + n) of some, gives each the same bits whatever rows are beside it.
template <class Product>
bool same_rows(std::size_t out, Product const& product) {
    static on one, two(2);
    for (on* place : {&one, &two}) {
        gf::cpu_executor at = place->be;
        at.batch_invariant = true;
        field<float> all({tokens, out});
        product(at, std::size_t{0}, tokens, rows<float>(all));
        for (std::size_t n : counts{1, 2, 3, 5, 8, 9, 16, 17, 33, 65})
            for (std::size_t first : counts{0, 1, tokens - n}) {
                field<float> some({n, out});
                product(at, first, n, rows<float>(some));
                for (std::size_t t = 0; t < n; ++t)
                    if (!std::equal(some[t], some[t] + out, all[first + t])) return false;
            }
    }
    return true;
}

}  // namespace

TEST_CASE_TEMPLATE("batch-invariant products with weights give a row the same bits whatever rows are beside it", T, float, gf::bf16) {
    each_set([&](kernel_table const& table) {
        for (std::size_t in : counts{33, 600, 1100}) {
            CAPTURE(in);
            constexpr std::size_t out = 45, rank = 35;
            field<T> const w({out, in}, 0.1f), w1({in, rank}, 0.1f), w2({rank, out}, 0.1f);
            field<float> const x({tokens, in}), h({tokens, rank});
            CHECK(same_rows(out, [&](gf::cpu_executor const& at, std::size_t first, std::size_t n, rows<float> y) {
                weights<T>(table).linear(at, w[0], {x[first], n, in, in}, y);
            }));
            CHECK(same_rows(rank, [&](gf::cpu_executor const& at, std::size_t first, std::size_t n, rows<float> y) {
                weights<T>(table).lora_down(at, {x[first], n, in, in}, w1[0], y);
            }));
            CHECK(same_rows(out, [&](gf::cpu_executor const& at, std::size_t first, std::size_t n, rows<float> y) {
                for (std::size_t t = 0; t < n; ++t) std::fill_n(y[t], out, 0.5f);
                weights<T>(table).lora_up(at, nullptr, {h[first], n, rank, rank}, w2[0], y);
            }));
        }
        constexpr std::size_t d = 75, rank = 20;
        field<T> const mu({1, d}), w2({rank, d});
        field<float> const x({tokens + 1, d}), h({tokens, rank});
        std::vector<float const*> before;
        for (std::size_t t = 0; t < tokens; ++t) before.push_back(x[t]);
        CHECK(same_rows(d, [&](gf::cpu_executor const& at, std::size_t first, std::size_t n, rows<float> y) {
            T const* const m = mu[0];
            weights<T>(table).token_shift_lora(at, {x[first + 1], n, d, d}, &before[first], 1, &m, {h[first], n, rank, rank}, w2[0], &y);
        }));
    });
}

TEST_CASE("batch-invariant products with packed weights give a row the same bits whatever rows are beside it") {
    each_set([&](kernel_table const& table) {
        constexpr std::size_t out = 45, in = 600;
        field<float> const x({tokens, in});
        std::vector<std::byte> packed(out * in), scale(out * ((in + 63) / 64) * 2);
        for (std::size_t i = 0; i < packed.size(); ++i) packed[i] = static_cast<std::byte>(i * 37);
        for (std::size_t i = 0; i < scale.size(); i += 2) {
            gf::bf16 const s(0.01f * static_cast<float>(i % 7));
            std::memcpy(&scale[i], &s, 2);
        }
        auto const check = [&](auto format) {
            CHECK(same_rows(out, [&](gf::cpu_executor const& at, std::size_t first, std::size_t n, rows<float> y) {
                weights<decltype(format)>(table).linear(at, {packed.data(), scale.data()}, {x[first], n, in, in}, y);
            }));
        };
        check(gf::detail::packed_integers<8>{});
        check(gf::detail::packed_integers<4>{});
    });
}
