// SPDX-License-Identifier: Apache-2.0
#include "../../examples/mixers/hgrn2.hpp"
#include "../../examples/mixers/infini_attention.hpp"
#include "../../examples/mixers/rg_lru.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "../io/builders.hpp"
#include "../layer/encode.hpp"

// The mixers of the examples against their papers' formulas, which stand here in plain loops and float64, and as parts of models.

namespace gf = goldfinch;

namespace {

inline constexpr gf::config C = gf::checked({.vocab_size = 64, .n_layer = 3, .n_gold = 1, .n_embd = 64, .head_size = 16});
constexpr std::size_t D = C.n_embd, N = C.head_size;

using numbers = std::vector<double>;
using tensors = std::map<std::string, numbers>;

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

/// w x for w [D, D].
numbers product(numbers const& w, double const* x) {
    numbers y(D);
    for (std::size_t o = 0; o < D; ++o)
        for (std::size_t i = 0; i < D; ++i) y[o] += w[o * D + i] * x[i];
    return y;
}

/// HGRN2, arXiv 2404.07904: S_t = diag(f_t) S_{t-1} + (1 - f_t)^T v_t ; o_t = q_t S_t.
numbers formula(mixers::hgrn2<C>, tensors const& w, numbers const& x) {
    numbers y, S(D * N);
    for (std::size_t t = 0; t < x.size() / D; ++t) {
        auto const q = product(w.at("query.weight"), &x[t * D]), f = product(w.at("forget.weight"), &x[t * D]),
                   v = product(w.at("value.weight"), &x[t * D]);
        numbers o(D);
        for (std::size_t key = 0; key < D; ++key) {
            double const bound = w.at("time_lower_bound")[key], keep = bound + (1 - bound) * sigmoid(f[key]);
            for (std::size_t i = 0; i < N; ++i) {
                std::size_t const value = key / N * N + i;
                S[key * N + i] = keep * S[key * N + i] + (1 - keep) * v[value];
                o[value] += q[key] * sigmoid(q[key]) * S[key * N + i];
            }
        }
        double squares = 0;
        for (double const e : o) squares += e * e;
        for (double& e : o) e /= std::sqrt(squares / D) + 1e-8;
        auto const row = product(w.at("output.weight"), o.data());
        y.insert(y.end(), row.begin(), row.end());
    }
    return y;
}

/// Griffin, arXiv 2402.19427: h_t = a_t h_{t-1} + sqrt(1 - a_t^2) (i_t u_t), a_t = exp(-8 softplus(Lambda) r_t), where u is a
/// convolution over four tokens of one branch; the other is a gelu.
numbers formula(mixers::rg_lru<C>, tensors const& w, numbers const& x) {
    std::size_t const T = x.size() / D;
    auto const affine = [&](std::string const& name, double const* from) {
        auto to = product(w.at(name + ".weight"), from);
        for (std::size_t i = 0; i < D; ++i) to[i] += w.at(name + ".bias")[i];
        return to;
    };
    auto const gate = [&](std::string const& name, numbers const& u, std::size_t out) {
        double sum = w.at(name + ".bias")[out];
        for (std::size_t i = 0; i < N; ++i) sum += u[out / N * N + i] * w.at(name + ".weight")[(out / N * N + i) * N + out % N];
        return sigmoid(sum);
    };
    std::vector<numbers> in;
    numbers y, h(D);
    for (std::size_t t = 0; t < T; ++t) {
        in.push_back(affine("linear_x", &x[t * D]));
        numbers u = w.at("conv.bias");
        for (std::size_t i = 0; i < D; ++i)
            for (std::size_t back = 0; back < 4 && back <= t; ++back) u[i] += w.at("conv.weight")[i * 4 + 3 - back] * in[t - back][i];
        auto out = affine("linear_y", &x[t * D]);
        for (std::size_t i = 0; i < D; ++i) {
            double const a = std::exp(-8 * std::log(1 + std::exp(w.at("time_decay")[i])) * gate("recurrent_gate", u, i));
            h[i] = a * h[i] + std::sqrt(1 - a * a) * (gate("input_gate", u, i) * u[i]);
            out[i] *= 0.5 * (1 + std::tanh(std::sqrt(2 / 3.14159265358979324) * (out[i] + 0.044715 * std::pow(out[i], 3)))) * h[i];
        }
        auto const row = affine("linear_out", out.data());
        y.insert(y.end(), row.begin(), row.end());
    }
    return y;
}

constexpr std::size_t segment = 100;
using infini = mixers::infini_attention<C, segment>;

/// Infini-attention, arXiv 2404.07143: out = g sigma(q) M / (sigma(q) z) + (1 - g) softmax(q K) V, where K and V are of the segment, M and z of those
/// before it: M += sigma(K)^T (V - sigma(K) M / (sigma(K) z)), z += sum of sigma(K).
numbers formula(infini, tensors const& w, numbers const& x) {
    std::size_t const T = x.size() / D;
    auto const sigma = [](double z) { return z > 0 ? z + 1 : std::exp(z); };
    auto const turned = [](numbers z, std::size_t position) {
        for (std::size_t i = 0; i < D; i += 2) {
            double const angle = static_cast<double>(position) * std::pow(10000.0, -static_cast<double>(i % N) / N), a = z[i], b = z[i + 1];
            z[i] = a * std::cos(angle) - b * std::sin(angle), z[i + 1] = a * std::sin(angle) + b * std::cos(angle);
        }
        return z;
    };
    std::vector<numbers> k, k_turned, v;
    numbers y, M(D * N), z(D);
    for (std::size_t t = 0; t < T; ++t) {
        std::size_t const begin = t / segment * segment;
        numbers const q = product(w.at("query.weight"), &x[t * D]), q_turned = turned(q, t - begin);
        k.push_back(product(w.at("key.weight"), &x[t * D]));
        k_turned.push_back(turned(k[t], t - begin));
        v.push_back(product(w.at("value.weight"), &x[t * D]));
        numbers o(D);
        // What the memory says of a query or a key, in channel i of a head.
        auto const recalled = [&](numbers const& of, std::size_t i) {
            double sum = 0, total = 0;
            for (std::size_t key = i / N * N; key < i / N * N + N; ++key) sum += sigma(of[key]) * M[key * N + i % N], total += sigma(of[key]) * z[key];
            return begin == 0 ? 0 : sum / total;
        };
        for (std::size_t i = 0; i < D; ++i) {
            double local = 0, total = 0;
            for (std::size_t s = begin; s <= t; ++s) {
                double score = 0;
                for (std::size_t n = i / N * N; n < i / N * N + N; ++n) score += q_turned[n] * k_turned[s][n] / std::sqrt(static_cast<double>(N));
                local += std::exp(score) * v[s][i], total += std::exp(score);
            }
            double const g = sigmoid(w.at("beta")[i / N]);
            o[i] = g * recalled(q, i) + (1 - g) * local / total;
        }
        auto const row = product(w.at("output.weight"), o.data());
        y.insert(y.end(), row.begin(), row.end());
        if ((t + 1) % segment != 0) continue;
        numbers next = M;
        for (std::size_t s = begin; s <= t; ++s)
            for (std::size_t i = 0; i < D; ++i)
                for (std::size_t n = 0; n < N; ++n) next[i * N + n] += sigma(k[s][i]) * (v[s][i / N * N + n] - recalled(k[s], i / N * N + n));
        for (std::size_t s = begin; s <= t; ++s)
            for (std::size_t i = 0; i < D; ++i) z[i] += sigma(k[s][i]);
        M = next;
    }
    return y;
}

/// Largest difference, where the largest expected value is 1; a NaN counts as infinite.
double distance(auto const& values, auto const& expected) {
    REQUIRE(values.size() == expected.size());
    double worst = 0, scale = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
        double const d = std::abs(static_cast<double>(values[i]) - static_cast<double>(expected[i]));
        worst = d <= worst ? worst : (d == d ? d : HUGE_VAL);
        scale = std::max(scale, static_cast<double>(std::abs(expected[i])));
    }
    CHECK(scale > 0.3);
    return worst / scale;
}

/// A mixer with weights that floats hold exactly, on a number of threads.
template <class Mixer, class Backend>
class layer {
    using S = typename Backend::scalar;

public:
    tensors named;  // the weights, for the formula

    explicit layer(std::size_t threads) : runtime_(threads), lease_(runtime_), be_(lease_.executor()) {
        std::mt19937 random(1);
        for (auto& t : gf::detail::list_parameters(p_)) {
            auto const [low, high] = gf::detail::random_range(t.name, t.shape);
            numbers values(t.size);
            for (double& v : values) v = static_cast<double>(static_cast<float>(low + (high - low) * static_cast<double>(random()) / 4294967296.0));
            owned_.push_back(encode(t, values));
            named[t.name] = values;
        }
    }

    /// The outputs for x [T, D] in chunks, each of the length that next() says at most.
    std::vector<S> run(numbers const& x, auto const& next) const {
        std::vector<S> const from(x.begin(), x.end());
        std::vector<S> to(x.size());
        using state = typename Mixer::template state<Backend>;
        std::vector<S> kept(gf::state_size<state>);
        for (std::size_t t = 0, T = x.size() / D; t < T;) {
            std::size_t const n = std::min<std::size_t>(next(), T - t);
            gf::single<S> const one(kept.data(), n, t);
            gf::batch<S> const& sequences = one;
            Mixer::forward(be_, p_, gf::state_at<state>(sequences, 0), {from.data() + t * D, n}, {to.data() + t * D, n});
            t += n;
        }
        return to;
    }

private:
    std::vector<gf::aligned_vector<std::byte>> owned_;
    typename Mixer::template weights<Backend> p_;
    gf::cpu_runtime runtime_;
    gf::cpu_runtime::lease lease_;
    Backend be_;
};

template <class Mixer, class Backend>
void check_formula(double bound) {
    std::mt19937 random(2);
    std::normal_distribution<float> normal;
    numbers x(600 * D);
    for (double& v : x) v = static_cast<double>(normal(random));

    layer<Mixer, Backend> const mixer(2), alone(1);
    auto const expected = formula(Mixer{}, mixer.named, x);
    auto const whole = mixer.run(x, [] { return std::size_t{600}; });
    double const full = distance(whole, expected), stepped = distance(mixer.run(x, [] { return std::size_t{1}; }), expected);
    double const chunked = distance(mixer.run(x, [&] { return std::size_t{1 + random() % 23}; }), expected);
    INFO(std::string(Mixer::name), " full ", full, ", stepped ", stepped, ", chunked ", chunked);
    CHECK(full < bound);
    CHECK(stepped < bound);
    CHECK(chunked < bound);
    CHECK(alone.run(x, [] { return std::size_t{600}; }) == whole);
}

template <class TimeMix, class Backend>
using gold_on =
    gf::model<C, Backend, gf::compressed_keys<float>,
              gf::stack<gf::repeat<gf::block<TimeMix, gf::channel_mix<C>>, 2>, gf::token_cat<C>, gf::block<gf::gold<C>, gf::channel_mix<C>>>>;

std::vector<float> copy(std::span<float const> logits) { return {logits.begin(), logits.end()}; }

}  // namespace

TEST_CASE_TEMPLATE("a mixer of one's own computes its paper's formula, however a sequence is split", Mixer, mixers::hgrn2<C>, mixers::rg_lru<C>, infini) {
    check_formula<Mixer, gf::simd<float>>(1e-5);
    check_formula<Mixer, gf::reference>(1e-12);
}

TEST_CASE_TEMPLATE("a mixer of one's own makes a model below GOLD", Mixer, mixers::hgrn2<C>, mixers::rg_lru<C>, infini) {
    using model = gold_on<Mixer, gf::simd<float>>;
    build::temporary_directory const dir;
    std::mt19937 random(3);
    std::vector<gf::token> tokens(300);
    for (auto& t : tokens) t = static_cast<gf::token>(random() % C.vocab_size);

    auto const lm = model::random(1, {.threads = 1});
    lm.save(dir.path("model"));
    auto const twice = model::load(dir.path("model"), {.threads = 2});
    gf::session session{lm}, other{twice};
    session.append(tokens);
    other.append(tokens);
    auto const logits = copy(session.logits());
    CHECK(copy(other.logits()) == logits);  // the same weights, on two threads

    gf::session oracle{gold_on<Mixer, gf::reference>::load(dir.path("model"))};
    double worst = 0;
    for (std::size_t t = 0; t < tokens.size();) {
        std::size_t const n = std::min<std::size_t>(1 + random() % 23, tokens.size() - t);
        oracle.append(std::span(tokens).subspan(t, n));
        t += n;
        gf::session again{lm};
        again.append(std::span(tokens).first(t));
        auto const ours = again.logits();
        auto const exact = oracle.logits();
        for (std::size_t i = 0; i < ours.size(); ++i) worst = std::max(worst, static_cast<double>(std::abs(ours[i] - exact[i])));
    }
    INFO(std::string(Mixer::name), " below GOLD ", worst);
    CHECK(worst <= 3e-5);

    // Sequences of different lengths at different positions, and each alone.
    std::vector batch{session, gf::session{lm}};
    auto alone = batch;
    std::vector<std::vector<gf::token>> const prompts{{tokens.begin(), tokens.begin() + 130}, {tokens.begin() + 7, tokens.begin() + 12}};
    gf::append(batch, prompts);
    for (std::size_t i = 0; i < batch.size(); ++i) {
        alone[i].append(prompts[i]);
        auto const together = copy(batch[i].logits()), apart = copy(alone[i].logits());
        for (std::size_t k = 0; k < apart.size(); ++k) CHECK(std::abs(together[k] - apart[k]) <= 3e-5f);
    }

    gf::session fork = session;
    session.save(dir.path("session"));
    gf::session restored{lm, dir.path("session")};
    CHECK(copy(restored.logits()) == logits);
    auto const next = copy(session.step(7));
    CHECK(next != logits);
    CHECK(copy(fork.logits()) == logits);  // what the other session did is not its business
    CHECK(copy(fork.step(7)) == next);
    CHECK(copy(restored.step(7)) == next);
}
