// SPDX-License-Identifier: Apache-2.0
#include "kernel_test.hpp"

namespace {

/// y = x w for w stored [depth, out], as lora_up adds it to zero.
template <class T>
bool holds(kernel_table const& table, std::size_t depth, std::size_t out, std::size_t tokens, std::size_t offset = 1) {
    return product_holds<T>(
        depth, out, tokens, offset, [out](std::size_t k, std::size_t o) { return k * out + o; },
        [&](gf::cpu_executor const& at, T const* w, rows<float const> x, rows<float> y) {
            for (std::size_t t = 0; t < tokens; ++t) std::fill_n(y[t], out, 0.0f);
            weights<T>(table).lora_up(at, nullptr, x, w, y);
        });
}

template <class T>
double sum(float const* x, T const* w, std::size_t stride, std::size_t depth) {
    double s = 0;
    for (std::size_t k = 0; k < depth; ++k) s += static_cast<double>(x[k]) * static_cast<double>(static_cast<float>(w[k * stride]));
    return s;
}

/// All operations on one set of inputs, with 1, 2 and 3 threads. Largest error.
template <class T>
double error_of_all(kernel_table const& table, std::size_t d, std::size_t rank, std::size_t tokens, std::size_t count) {
    static on one, two(2), three(3);
    auto const& kernels = weights<T>(table);
    float const small = 1 / std::sqrt(static_cast<float>(d));
    field<T> const w1({1, d * rank, 1}, small), w2({1, count * rank * d, 3}, 0.3f), bias({1, d, 1});
    field<T> const mu({count, d, 1, 2});
    field<float> const x({tokens, d, 1, 3}), all_h({tokens, count * rank, 3, 1}, 0.5f);
    double worst = 0;
    auto const check = [&](field<float> const& y, auto const& expected) {
        worst = std::max(worst, y.guards_intact() ? error(y, expected) : INFINITY);
    };

    field<float> h({tokens, rank, 1, 2});
    kernels.lora_down(one.be, x, w1[0], h);
    check(h, [&](std::size_t t, std::size_t i) { return std::tanh(sum(x[t], w1[0] + i, rank, d)); });
    field<float> y({tokens, d, 2, 1});
    field<float> const before = y;
    kernels.lora_up(one.be, nullptr, h, w2[0], y);
    check(y, [&](std::size_t t, std::size_t i) { return static_cast<double>(before[t][i]) + sum(h[t], w2[0] + i, d, rank); });
    kernels.lora_up(one.be, bias[0], h, w2[0], y);
    check(y, [&](std::size_t t, std::size_t i) { return static_cast<double>(static_cast<float>(bias[0][i])) + sum(h[t], w2[0] + i, d, rank); });
    for (on* other : {&two, &three}) {
        field<float> same = h, same_y = before;
        kernels.lora_down(other->be, x, w1[0], same);
        kernels.lora_up(other->be, bias[0], h, w2[0], same_y);
        if (!(same == h) || !(same_y == y)) return INFINITY;
    }

    std::size_t const half = tokens / 2;
    field<float> const prev({2, d, 1, 1});
    auto const rows_above = rows_before(x, prev, {0, half, tokens});
    std::vector<T const*> m(count);
    for (std::size_t i = 0; i < count; ++i) m[i] = mu[i];
    std::vector<field<float>> shifted(count, field<float>({tokens, d, 1, 2}));
    auto const run = [&](on& place, std::vector<field<float>>& to) {
        std::vector<rows<float>> const out(to.begin(), to.end());
        kernels.token_shift_lora(place.be, x, rows_above.data(), count, m.data(), all_h, w2[0], out.data());
    };
    run(one, shifted);
    for (std::size_t i = 0; i < count; ++i)
        check(shifted[i], [&](std::size_t t, std::size_t c) {
            double const now = static_cast<double>(x[t][c]), mix = static_cast<double>(static_cast<float>(mu[i][c]));
            return now + (static_cast<double>(rows_above[t][c]) - now) * (mix + sum(all_h[t] + i * rank, w2[0] + i * rank * d + c, d, rank));
        });
    for (on* other : {&two, &three}) {
        auto same = shifted;
        run(*other, same);
        if (!(same == shifted)) return INFINITY;
    }
    return worst;
}

}  // namespace

TEST_CASE_TEMPLATE("lora products: every remainder of columns, depth and tokens", T, float, gf::bf16, gf::half) {
    each_set([](kernel_table const& table) {
        for (std::size_t tokens = 0; tokens <= 25; ++tokens)
            for (std::size_t depth : counts{1, 3, 33}) CHECK_MESSAGE(holds<T>(table, depth, 21, tokens), "depth " << depth << " tokens " << tokens);
        for (std::size_t out = 1; out <= 65; out += out < 16 ? 1 : 3)
            for (std::size_t tokens : counts{1, 2, 3, 13})
                CHECK_MESSAGE(holds<T>(table, 19, out, tokens, out), "out " << out << " tokens " << tokens);
        for (std::size_t depth = 1; depth <= 33; ++depth)
            for (std::size_t tokens : counts{1, 9})
                CHECK_MESSAGE(holds<T>(table, depth, 40, tokens, depth), "depth " << depth << " tokens " << tokens);
    });
}

TEST_CASE_TEMPLATE("lora products: several blocks of every extent", T, float, gf::bf16) {
    each_set([](kernel_table const& table) {
        CHECK(holds<T>(table, 1100, 170, 3));
        CHECK(holds<T>(table, 1100, 170, 40));
        CHECK(holds<T>(table, 40, 300, 210));
    });
}

TEST_CASE_TEMPLATE("lora_down, lora_up and token_shift_lora, on any number of threads", T, float, gf::bf16, gf::half) {
    each_set([](kernel_table const& table) {
        for (std::size_t tokens : counts{0, 1, 2, 4, 8, 9, 29, 100})
            for (std::size_t count : counts{1, 2, 5}) {
                CAPTURE(tokens);
                CAPTURE(count);
                CHECK(error_of_all<T>(table, 70, 10, tokens, count) < 3e-6);
                CHECK(error_of_all<T>(table, 33, 32, tokens, count) < 3e-6);
            }
        CHECK(error_of_all<T>(table, 512, 32, 2, 5) < 3e-6);
        CHECK(error_of_all<T>(table, 300, 8, 210, 2) < 3e-6);
    });
}

TEST_CASE("tanh is right to 3 units in the last place, everywhere") {
    on here;
    using limits = std::numeric_limits<float>;
    std::vector<float> special{0.0f,  -0.0f,         limits::denorm_min(), 1e-40f, limits::min(), 1e-20f, 20.0f, -88.0f,
                               1e30f, limits::max(), limits::infinity()};
    for (float v = -12; v < 12; v += 0.00137f) special.push_back(v);
    float const one = 1;
    each_set([&](kernel_table const& table) {
        std::vector<float> h(special.size());
        weights<float>(table).lora_down(here.be, {special.data(), special.size(), 1, 1}, &one, {h.data(), special.size(), 1, 1});
        for (std::size_t i = 0; i < special.size(); ++i) {
            double const want = std::tanh(static_cast<double>(special[i]));
            double const unit = std::max(std::abs(want) * 0x1p-23, static_cast<double>(limits::denorm_min()));
            CHECK_MESSAGE(std::abs(static_cast<double>(h[i]) - want) <= 3 * unit, "tanh(" << special[i] << ") = " << h[i]);
        }
    });
}
