// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <span>

#include <goldfinch/backend/reference.hpp>
#include <goldfinch/backend/simd/attention.hpp>

#include "products.hpp"

namespace gf = goldfinch;

namespace {

template <class Scalar, std::size_t H, std::size_t A>
struct sums_storage {
    std::vector<Scalar> max, total, value;
    gf::attention_sums<Scalar, H, A> view;
    explicit sums_storage(std::size_t tokens)
        : max(tokens * (H + 1)), total(tokens * (H + 2)), value(tokens * (A + 3)),
          view{{max.data(), tokens, H + 1}, {total.data(), tokens, H + 2}, {value.data(), tokens, A + 3}} {}
    sums_storage(sums_storage const&) = delete;
};

/// Attention of `tokens` queries that end where the keys end, over keys in tiles of `tile`, those of odd number in a second part;
/// the largest difference from the reference.
template <class Value, std::size_t H, std::size_t N>
double error(std::size_t tokens, std::size_t keys, std::size_t tile, float scale = 1) {
    constexpr std::size_t A = H * N, stride = A + 5;
    products::workplace<gf::bf16> place(1);
    gf::reference const oracle(place.lease.executor());
    products::values<float> q(tokens * stride, 1, 1);
    for (float& x : q.storage) x *= scale;
    products::values<Value> const k(keys * stride, 1, 2), v(keys * stride, 3, 3);
    auto const dq = products::to_double(q.data(), tokens * stride), dk = products::to_double(k.data(), keys * stride);
    auto const dv = products::to_double(v.data(), keys * stride);

    sums_storage<float, H, A> even(tokens), odd(tokens);
    sums_storage<double, H, A> wanted(tokens);
    gf::clear(place.be, even.view);
    gf::clear(place.be, odd.view);
    gf::clear(oracle, wanted.view);
    std::size_t const position = 7, q_position = position + keys - tokens;
    for (std::size_t j = 0; j < keys; j += tile) {
        std::size_t const n = std::min(tile, keys - j);
        gf::attend(place.be, {q.data(), tokens, stride}, q_position, gf::sequence<Value const, A>{k.data() + j * stride, n, stride},
                   {v.data() + j * stride, n, stride}, position + j, j / tile % 2 != 0 ? odd.view : even.view);
    }
    gf::attend(oracle, {dq.data(), tokens, stride}, q_position, gf::sequence<double const, A>{dk.data(), keys, stride},
               {dv.data(), keys, stride}, position, wanted.view);

    products::values<float> y(tokens * stride, 1, 4);
    std::vector<double> want(tokens * stride);
    std::array<gf::attention_sums<float, H, A>, 2> const parts{even.view, odd.view};
    gf::merge(place.be, std::span<gf::attention_sums<float, H, A> const>(parts), {y.data(), tokens, stride});
    gf::merge(oracle, std::span<gf::attention_sums<double, H, A> const>(&wanted.view, 1), {want.data(), tokens, stride});
    double worst = 0;
    for (std::size_t t = 0; t < tokens; ++t)
        for (std::size_t i = 0; i < A; ++i) {
            double const e = std::abs(static_cast<double>(y[t * stride + i]) - want[t * stride + i]);
            worst = e <= worst ? worst : e;  // NaN counts
        }
    return worst;
}

// Values are below 1 in magnitude, so this is what float32 scores, exponentials and sums may cost.
constexpr double bound = 3e-6;

}  // namespace

TEST_CASE_TEMPLATE("attention: every number of queries and keys", Value, float, gf::bf16) {
    for (std::size_t tokens = 1; tokens <= 2 * gf::kernel::tile_rows + 1; ++tokens)
        for (std::size_t keys : {tokens, tokens + 1, tokens + 30}) CHECK_MESSAGE((error<Value, 2, 20>(tokens, keys, 64) < bound), "queries " << tokens << " keys " << keys);
    for (std::size_t keys = 5; keys < 150; keys += keys < 70 ? 1 : 13)
        for (std::size_t tokens : products::sizes{1, 5}) CHECK_MESSAGE((error<Value, 1, 16>(tokens, keys, 64) < bound), "queries " << tokens << " keys " << keys);
}

TEST_CASE_TEMPLATE("attention: head sizes", Value, float, gf::bf16) {
    for (std::size_t tokens : products::sizes{1, 2, 9}) {
        CHECK(error<Value, 3, 1>(tokens, 70, 64) < bound);
        CHECK(error<Value, 2, 17>(tokens, 70, 64) < bound);
        CHECK(error<Value, 2, 64>(tokens, 70, 64) < bound);
        CHECK(error<Value, 1, 100>(tokens, 70, 64) < bound);
        CHECK(error<Value, 1, 128>(tokens, 70, 64) < bound);
    }
}

TEST_CASE("attention: tiles of any size, queries that see nothing of some") {
    for (std::size_t tile : products::sizes{1, 3, 31, 64, 65, 200})
        for (std::size_t tokens : products::sizes{1, 3, 4, 40, 100}) CHECK_MESSAGE((error<float, 2, 16>(tokens, 130, tile) < bound), "queries " << tokens << " tile " << tile);
}

TEST_CASE("attention: scores far apart neither overflow nor vanish") {
    for (std::size_t tokens : products::sizes{1, 20}) {
        CHECK(error<float, 1, 64>(tokens, 100, 64, 300.0f) < 300 * bound);
        CHECK(error<gf::bf16, 1, 64>(tokens, 100, 10, 1e-30f) < bound);
    }
}
