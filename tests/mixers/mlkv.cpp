// SPDX-License-Identifier: Apache-2.0
#include "../../examples/mixers/mlkv.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "../golden.hpp"
#include "../io/builders.hpp"

// Blocks that share keys and values, against their paper's formula in plain loops and float64.

namespace {

inline constexpr gf::config C = gf::checked({.vocab_size = 64, .n_layer = 2, .n_embd = 32, .head_size = 16});
constexpr std::size_t D = C.n_embd, N = C.head_size, F = gf::llama_mlp<C>::F, blocks_a_group = 3;

template <class Backend, class Value>
using model = gf::model<C, Backend, gf::compressed_keys<Value>, gf::stack<gf::repeat<mixers::mlkv_group<C, blocks_a_group>, 2>>>;

using numbers = std::vector<double>;
using matrix = std::vector<numbers>;  // a row a token

/// The model in a file as its formula.
class formula {
public:
    explicit formula(std::filesystem::path const& path) : file_(path) {}

    /// Logits of every token.
    matrix operator()(std::vector<gf::token> const& tokens) const {
        matrix x;
        numbers const embeddings = weights("emb.weight");
        for (gf::token const t : tokens) x.emplace_back(&embeddings[t * D], &embeddings[t * D] + D);
        x = norm("blocks.0.ln0", x);
        for (std::size_t group = 0; group < C.n_layer; ++group) {
            matrix keys, values;  // of the whole group
            for (std::size_t layer = 0; layer < blocks_a_group; ++layer) {
                std::string const at = "blocks." + std::to_string(group) + ".layers." + std::to_string(layer) + ".";
                matrix h = norm(at + "ln1", x);
                if (layer == 0) keys = turned(product(at + "att.wk", h, D)), values = product(at + "att.wv", h, D);
                add(x, product(at + "att.wo", attention(turned(product(at + "att.wq", h, D)), keys, values), D));
                h = norm(at + "ln2", x);
                matrix gate = product(at + "ffn.w1", h, F);
                matrix const up = product(at + "ffn.w3", h, F);
                for (std::size_t t = 0; t < h.size(); ++t)
                    for (std::size_t i = 0; i < F; ++i) gate[t][i] *= up[t][i] / (1 + std::exp(-gate[t][i]));
                add(x, product(at + "ffn.w2", gate, D));
            }
        }
        return product("head", norm("ln_out", x), C.vocab_size);
    }

private:
    numbers weights(std::string const& name) const {
        auto const values = file_.floats(name);
        return {values.begin(), values.end()};
    }
    static void add(matrix& x, matrix const& y) {
        for (std::size_t t = 0; t < x.size(); ++t)
            for (std::size_t i = 0; i < D; ++i) x[t][i] += y[t][i];
    }
    matrix product(std::string const& name, matrix const& x, std::size_t out) const {
        numbers const w = weights(name + ".weight");
        matrix y(x.size(), numbers(out));
        for (std::size_t t = 0; t < x.size(); ++t)
            for (std::size_t o = 0; o < out; ++o)
                for (std::size_t i = 0; i < x[t].size(); ++i) y[t][o] += w[o * x[t].size() + i] * x[t][i];
        return y;
    }
    matrix norm(std::string const& name, matrix x) const {
        numbers const w = weights(name + ".weight"), b = weights(name + ".bias");
        for (numbers& row : x) {
            double mean = 0, variance = 0;
            for (double const v : row) mean += v / D;
            for (double const v : row) variance += (v - mean) * (v - mean) / D;
            for (std::size_t i = 0; i < D; ++i) row[i] = (row[i] - mean) / std::sqrt(variance + 1e-5) * w[i] + b[i];
        }
        return x;
    }
    static matrix turned(matrix x) {
        for (std::size_t t = 0; t < x.size(); ++t)
            for (std::size_t i = 0; i < D; i += 2) {
                double const angle = static_cast<double>(t) * std::pow(10000.0, -static_cast<double>(i % N) / N), a = x[t][i], b = x[t][i + 1];
                x[t][i] = a * std::cos(angle) - b * std::sin(angle), x[t][i + 1] = a * std::sin(angle) + b * std::cos(angle);
            }
        return x;
    }
    static matrix attention(matrix const& q, matrix const& keys, matrix const& values) {
        matrix y(q.size(), numbers(D));
        for (std::size_t t = 0; t < q.size(); ++t)
            for (std::size_t head = 0; head < D; head += N) {
                numbers p(t + 1);
                double sum = 0;
                for (std::size_t s = 0; s <= t; ++s) {
                    for (std::size_t i = head; i < head + N; ++i) p[s] += q[t][i] * keys[s][i] / std::sqrt(static_cast<double>(N));
                    sum += p[s] = std::exp(p[s]);
                }
                for (std::size_t s = 0; s <= t; ++s)
                    for (std::size_t i = head; i < head + N; ++i) y[t][i] += p[s] / sum * values[s][i];
            }
        return y;
    }

    golden::vectors file_;
};

}  // namespace

TEST_CASE("blocks that share keys and values compute their paper's formula, however a sequence is split, and keep those of one block") {
    build::temporary_directory const dir;
    model<gf::simd<float>, float>::random(1, {.threads = 1}).save(dir.path("model"));
    auto const lm = model<gf::simd<float>, float>::load(dir.path("model"));
    auto const exact = model<gf::reference, float>::load(dir.path("model"));
    std::vector<gf::token> tokens(100);
    for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<gf::token>((7 * i + i * i / 3) % C.vocab_size);
    matrix const expected = formula(dir.path("model"))(tokens);

    gf::session chunked{lm}, stepped{lm};
    gf::session oracle{exact};
    double worst = 0, worst_exact = 0;
    for (std::size_t t = 0; t < tokens.size();) {
        std::size_t const n = std::min<std::size_t>(1 + t % 23, tokens.size() - t);
        chunked.append(std::span(tokens).subspan(t, n));
        oracle.append(std::span(tokens).subspan(t, n));
        for (std::size_t const end = t + n; t < end; ++t) worst = std::max(worst, golden::distance(stepped.step(tokens[t]), expected[t]));
        worst = std::max(worst, golden::distance(chunked.logits(), expected[t - 1]));
        worst_exact = std::max(worst_exact, golden::distance(oracle.logits(), expected[t - 1]));
    }
    double largest = 0;
    for (double const v : expected.back()) largest = std::max(largest, std::abs(v));
    CHECK(largest > 0.3);
    CHECK(worst <= 3e-5);
    CHECK(worst_exact <= 1e-5);  // keys and values are kept in float

    using plain = gf::model<C, gf::simd<float>, gf::compressed_keys<float>, gf::llama_stack<C>>;
    CHECK(decltype(lm)::n_parameters > 2 * plain::n_parameters);
    gf::session two_blocks{plain::random(1, {.threads = 1})};
    two_blocks.append(tokens);
    CHECK(chunked.cache_bytes() == two_blocks.cache_bytes());
}
