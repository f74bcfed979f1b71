// SPDX-License-Identifier: Apache-2.0
#include "kernel_test.hpp"

namespace {

/// Sums of no keys.
struct sums {
    field<float> max, total, value;
    sums(std::size_t tokens, std::size_t heads, std::size_t width)
        : max({tokens, heads, 0, 1}), total({tokens, heads, 0, 2}), value({tokens, width, 1, 3}) {
        for (std::size_t t = 0; t < tokens; ++t) {
            std::fill_n(max[t], heads, -INFINITY);
            std::fill_n(total[t], heads, 0.0f);
            std::fill_n(value[t], width, 0.0f);
        }
    }
    gf::detail::attention_sums<float> view() { return {max, total, value}; }
    gf::detail::attention_sums<float> from(std::size_t t) {
        std::size_t const n = value.size() - t;
        return {max.part(t, n), total.part(t, n), value.part(t, n)};
    }
    bool guards_intact() const { return max.guards_intact() && total.guards_intact() && value.guards_intact(); }
};

/// Attention of `tokens` queries that end where the keys end, over keys in tiles of `tile`, those of odd number in a second part;
/// the largest difference from a softmax in double.
template <class Value>
double attention_error(kernel_table const& table, std::size_t heads, std::size_t n, std::size_t tokens, std::size_t keys, std::size_t tile,
                       float scale = 1) {
    static on here, three(3);
    std::size_t const width = heads * n;
    field<float> const q({tokens, width, 1, 5}, 0.6f * scale);
    field<Value> const k({keys, width, 1, 5}, 0.6f), v({keys, width, 3, 5}, 0.4f);
    sums even(tokens, heads, width), odd(tokens, heads, width);
    for (std::size_t j = 0; j < keys; j += tile) {
        std::size_t const size = std::min(tile, keys - j);
        sums& to = j / tile % 2 != 0 ? odd : even;
        // Query i is at position keys - tokens + i, and sees those up to its own: queries before the tile see none of it.
        std::size_t const hidden = j > keys - tokens ? j - (keys - tokens) : 0;
        values<Value>(table).attend(here.be, {heads,
                                              n,
                                              {q[hidden], tokens - hidden, width + 5, width},
                                              {k[j], size, width + 5, width},
                                              {v[j], size, width + 5, width},
                                              to.from(hidden),
                                              keys - tokens + hidden + 1 - j});
    }
    field<float> y({tokens, width, 1, 2});
    gf::detail::attention_sums<float> const parts[] = {even.view(), odd.view()};
    table.merge(here.be, parts, 2, heads, y);
    field<float> z = y;
    table.merge(three.be, parts, 2, heads, z);
    if (!(y == z) || !y.guards_intact() || !even.guards_intact() || !odd.guards_intact()) return INFINITY;

    auto const d = [](auto x) { return static_cast<double>(static_cast<float>(x)); };
    double worst = 0;
    for (std::size_t t = 0; t < tokens; ++t)
        for (std::size_t h = 0; h < heads; ++h) {
            std::size_t const seen = keys - tokens + t + 1;
            std::vector<double> p(seen), mean(n);
            for (std::size_t j = 0; j < seen; ++j)
                for (std::size_t i = h * n; i < (h + 1) * n; ++i) p[j] += d(q[t][i]) * d(k[j][i]) / std::sqrt(static_cast<double>(n));
            double const most = *std::max_element(p.begin(), p.end());
            double total = 0;
            for (double& x : p) total += x = std::exp(x - most);
            for (std::size_t j = 0; j < seen; ++j)
                for (std::size_t i = 0; i < n; ++i) mean[i] += p[j] / total * d(v[j][h * n + i]);
            for (std::size_t i = 0; i < n; ++i) {
                double const e = std::abs(d(y[t][h * n + i]) - mean[i]);
                worst = e <= worst ? worst : e;  // NaN counts
            }
        }
    return worst;
}

// Values are about 1 in magnitude, so this is what float32 scores, exponentials and sums may cost.
constexpr double bound = 3e-6;

}  // namespace

TEST_CASE_TEMPLATE("attention: every number of queries and keys", Value, float, gf::bf16) {
    each_set([](kernel_table const& table) {
        for (std::size_t tokens = 1; tokens <= 25; ++tokens)
            for (std::size_t keys : {tokens, tokens + 1, tokens + 30})
                CHECK_MESSAGE(attention_error<Value>(table, 2, 20, tokens, keys, 64) < bound, "queries " << tokens << " keys " << keys);
        for (std::size_t keys = 5; keys < 150; keys += keys < 70 ? 1 : 13)
            for (std::size_t tokens : counts{1, 5})
                CHECK_MESSAGE(attention_error<Value>(table, 1, 16, tokens, keys, 64) < bound, "queries " << tokens << " keys " << keys);
    });
}

TEST_CASE_TEMPLATE("attention: head sizes", Value, float, gf::bf16) {
    each_set([](kernel_table const& table) {
        for (std::size_t tokens : counts{1, 2, 9})
            for (std::size_t n : counts{1, 17, 64, 100, 128, 512}) CHECK(attention_error<Value>(table, n < 100 ? 3 : 1, n, tokens, 70, 64) < bound);
    });
}

TEST_CASE("attention: tiles of any size, queries that see nothing of some") {
    each_set([](kernel_table const& table) {
        for (std::size_t tile : counts{1, 3, 31, 64, 65, 200})
            for (std::size_t tokens : counts{1, 3, 4, 40, 100})
                CHECK_MESSAGE(attention_error<float>(table, 2, 16, tokens, 130, tile) < bound, "queries " << tokens << " tile " << tile);
    });
}

TEST_CASE("attention: scores far apart neither overflow nor vanish") {
    each_set([](kernel_table const& table) {
        for (std::size_t tokens : counts{1, 20}) {
            CHECK(attention_error<float>(table, 1, 64, tokens, 100, 64, 300.0f) < 300 * bound);
            CHECK(attention_error<gf::bf16>(table, 1, 64, tokens, 100, 10, 1e-30f) < bound);
        }
    });
}
