// SPDX-License-Identifier: Apache-2.0
// The recurrence of RWKV-6 in emulation, token by token and in chunks, against its definition in double.
#include <goldfinch/backend/cuda/driver.cuh>
#include <goldfinch/backend/cuda/runtime.hpp>
#include <goldfinch/backend/cuda/wkv6.cuh>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace gf = goldfinch;

namespace {

enum class decays { usual, extreme };  // as models have them; those and zeros, ones and what is hardly more than zero

/// Whether the operation chooses a kernel, or all sequences are cut into chunks.
enum class by { operation, chunks };

struct shape {
    std::vector<unsigned> lengths;  // of the sequences
    decays of = decays::usual;
    bool bonus = false, in_place = false;
    std::size_t gap = 4;  // between rows, and around a state
};

struct results {
    std::vector<float> y, state;
    bool operator==(results const&) const = default;
};

template <unsigned N, class T = float>
struct problem {
    static constexpr std::size_t heads = 2, width = heads * N;
    static constexpr float guard = 99;
    shape how;
    std::size_t rows = 0, stride, state_stride;
    std::vector<float> r, k, v, w, u, state;

    explicit problem(shape const& s) : how(s), stride(width + s.gap), state_stride(width * N + s.gap) {
        for (unsigned const n : s.lengths) rows += n;
        std::mt19937 random(N + static_cast<unsigned>(rows));
        std::normal_distribution<float> normal;
        auto const fill = [&](std::vector<float>& x, std::size_t lines, std::size_t line, std::size_t used) {
            x.assign(lines * line, guard);
            for (std::size_t i = 0; i < x.size(); ++i)
                if (i % line < used) x[i] = normal(random);
        };
        for (auto* const x : {&r, &k, &v, &w}) fill(*x, rows, stride, width);
        fill(u, 1, width, width);
        for (float& x : u) x = static_cast<float>(T(x));
        fill(state, s.lengths.size(), state_stride, width * N);
        for (std::size_t i = 0; i < w.size(); ++i) w[i] = i % stride < width ? std::exp(-std::exp(2 * w[i] - 2)) : guard;
        if (s.of == decays::usual) return;
        float const rare[] = {0, 1, std::numeric_limits<float>::denorm_min(), 1e-30f, 0x1p-24f, 1 - 0x1p-24f};
        for (std::size_t i = 0; i < w.size(); ++i)
            if (i % stride < width && random() % 3 == 0) w[i] = rare[random() % std::size(rare)];
    }

    results run(by const kernels) const {
        gf::cuda_runtime runtime(1);
        gf::cuda_runtime::lease const lease(runtime);
        auto const there = []<class U>(std::vector<U> const& host) {
            gf::cuda_buffer<U> result(host.size());
            gf::detail::cuda_driver<>::upload(result.data(), host.data(), host.size() * sizeof(U));
            return result;
        };
        auto r_there = there(r), k_there = there(k), v_there = there(v), w_there = there(w), state_there = there(state);
        auto y_there = there(std::vector<float>(rows * stride, guard));
        gf::cuda_buffer<float>& y = how.in_place ? r_there : y_there;
        auto const view = [&](auto& x) { return gf::detail::cuda_rows<float const>{x.data(), rows, stride, width}; };
        gf::detail::cuda_sequences of;
        for (unsigned i = 0, first = 0; i < how.lengths.size(); ++i) {
            if (how.lengths[i] > 0) of.each[of.size++] = {state_there.data() + i * state_stride, first, first + how.lengths[i], 0};
            first += how.lengths[i];
        }
        auto const u_there = there(std::vector<T>(u.begin(), u.end()));
        T const* const bonus = how.bonus ? u_there.data() : nullptr;
        gf::detail::cuda_rows<float> const to{y.data(), rows, stride, width};
        auto const& at = lease.executor();
        if (kernels == by::operation)
            gf::detail::cuda_weight_kernels<T>::template wkv6<N>(at, heads, view(r_there), view(k_there), view(v_there), view(w_there), bonus, of, to);
        else if constexpr (gf::detail::device::wkv_has_chunks<N, T>)
            gf::detail::device::launch_wkv6_chunks<N>(at, heads, view(r_there), view(k_there), view(v_there), view(w_there), bonus, of, to);
        results result{std::vector<float>(y.size()), std::vector<float>(state.size())};
        gf::detail::cuda_driver<>::download(y.data(), result.y.data(), y.size() * sizeof(float));
        gf::detail::cuda_driver<>::download(state_there.data(), result.state.data(), state.size() * sizeof(float));
        return result;
    }

    /// The largest error, relative to the sum of the absolute values of what an element adds up; infinite where a guard was written.
    double error(results const& found) const {
        double worst = 0;
        auto const d = [](float x) { return static_cast<double>(x); };
        auto const compare = [&](float x, double expected, double terms) {
            double const difference = std::abs(d(x) - expected) / (terms + 1e-30);
            worst = difference <= worst ? worst : std::isnan(difference) ? HUGE_VAL : difference;
        };
        std::vector<double> S(N * N), terms(N * N);
        for (std::size_t h = 0; h < heads; ++h)
            for (std::size_t i = 0, first = 0; i < how.lengths.size(); first += how.lengths[i++]) {
                std::size_t const at = i * state_stride + h * N * N;
                for (std::size_t e = 0; e < N * N; ++e) S[e] = d(state[at + e]), terms[e] = std::abs(S[e]);
                for (std::size_t t = first; t < first + how.lengths[i]; ++t) {
                    auto const token = [&](std::vector<float> const& x, std::size_t c) { return d(x[t * stride + h * N + c]); };
                    for (std::size_t value = 0; value < N; ++value) {
                        double sum = 0, magnitude = 0;
                        for (std::size_t key = 0; key < N; ++key) {
                            std::size_t const e = key * N + value;
                            double const kv = token(k, key) * token(v, value), added = how.bonus ? d(u[h * N + key]) * kv : 0;
                            sum += token(r, key) * (S[e] + added);
                            magnitude += std::abs(token(r, key)) * (terms[e] + std::abs(added));
                            S[e] = token(w, key) * S[e] + kv;
                            terms[e] = token(w, key) * terms[e] + std::abs(kv);
                        }
                        compare(found.y[t * stride + h * N + value], sum, magnitude);
                    }
                }
                for (std::size_t e = 0; e < N * N; ++e) compare(found.state[at + e], S[e], terms[e]);
            }
        for (std::size_t i = 0; i < found.y.size(); ++i)
            if (i % stride >= width && found.y[i] != guard) worst = HUGE_VAL;
        for (std::size_t i = 0; i < found.state.size(); ++i)
            if (i % state_stride >= width * N && found.state[i] != guard) worst = HUGE_VAL;
        return worst;
    }
};

constexpr double float_bound = 1e-6, bf16_bound = 0x1p-15;

template <unsigned N, class T = float>
results check(shape const& how, by const kernels, double const bound = float_bound) {
    problem<N, T> const p(how);
    results const found = p.run(kernels);
    double const error = p.error(found);
    INFO("heads of ", N, ", ", p.rows, " tokens: ", error);
    CHECK(error <= bound);
    return found;
}

}  // namespace

TEST_CASE("chunks of the recurrence end anywhere") {
    for (unsigned const n : {1u, 15u, 16u, 17u, 63u, 64u, 65u, 130u, 200u})
        for (decays const of : {decays::usual, decays::extreme})
            check<16>({.lengths = {n}, .of = of, .bonus = n % 2 == 0, .in_place = n % 3 == 0}, by::chunks);
}

TEST_CASE("chunks of wider heads") {
    for (decays const of : {decays::usual, decays::extreme}) {
        check<48>({.lengths = {65}, .of = of, .bonus = true}, by::operation);
        check<64>({.lengths = {81}, .of = of, .in_place = true}, by::operation);
    }
}

TEST_CASE("chunks with operands in two parts, as for weights of bf16") {
    for (decays const of : {decays::usual, decays::extreme}) check<64, gf::bf16>({.lengths = {70}, .of = of, .bonus = true}, by::operation, bf16_bound);
    check<128, gf::bf16>({.lengths = {66}}, by::operation, bf16_bound);
}

TEST_CASE("many chunks one after another, and longer ones") {
    for (unsigned const n : {9u * 64 + 5, 33u * 64 + 5}) check<16>({.lengths = {n}}, by::operation);
}

TEST_CASE("sequences of all lengths, each with the bits that it has alone") {
    shape const together{.lengths = {1, 130, 0, 64, 65, 17}, .bonus = true, .in_place = true};
    problem<16> const p(together);
    results const found = check<16>(together, by::operation);
    for (std::size_t i = 0, first = 0; i < together.lengths.size(); first += together.lengths[i++]) {
        problem<16> one = p;
        one.how.lengths = {together.lengths[i]}, one.rows = together.lengths[i];
        auto const part = [](std::vector<float>& x, std::size_t from, std::size_t n) {
            auto const begin = x.begin() + static_cast<std::ptrdiff_t>(from);
            x = {begin, begin + static_cast<std::ptrdiff_t>(n)};
        };
        for (auto* const x : {&one.r, &one.k, &one.v, &one.w}) part(*x, first * p.stride, one.rows * p.stride);
        part(one.state, i * p.state_stride, p.state_stride);
        if (one.rows == 0) continue;
        results expected = found;
        part(expected.y, first * p.stride, one.rows * p.stride), part(expected.state, i * p.state_stride, p.state_stride);
        CHECK(one.run(by::operation) == expected);
    }
}

TEST_CASE("the recurrence token by token, where there are few, or rows or heads fit no chunks") {
    check<64>({.lengths = {33, 1}, .of = decays::extreme, .bonus = true}, by::operation);
    check<16>({.lengths = {70}, .gap = 3}, by::operation);
    check<12>({.lengths = {70}, .in_place = true}, by::operation);
}

TEST_CASE("chunks have the same bits in whatever order threads run") {
    problem<48> const p({.lengths = {70, 33}, .of = decays::extreme, .bonus = true, .in_place = true});
    CHECK(emulation::difference_between_orders([&] {
              results both = p.run(by::chunks);
              both.y.insert(both.y.end(), both.state.begin(), both.state.end());
              return both.y;
          }) == "");
}
