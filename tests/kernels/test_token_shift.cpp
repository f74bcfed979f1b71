// SPDX-License-Identifier: Apache-2.0
#include "kernel_test.hpp"

namespace {

template <class T>
struct shift {
    field<T> mu;
    std::vector<T const*> m;
    std::vector<field<float>> y;

    shift(layout const& l, std::size_t count)
        : mu({count, l.width, l.offset, 1}), m(count), y(count, field<float>({l.size, l.width, l.offset + 1, 2})) {
        for (std::size_t i = 0; i < count; ++i) m[i] = mu[i];
    }
    void run(kernel_table const& table, gf::cpu_executor const& at, field<float> const& x, std::vector<float const*> const& before) {
        std::vector<rows<float>> const out(y.begin(), y.end());
        weights<T>(table).token_shift(at, x, before.data(), m.size(), m.data(), out.data());
    }
    bool holds(field<float> const& x, std::vector<float const*> const& before) const {
        for (std::size_t o = 0; o < m.size(); ++o) {
            double const e = error(y[o], [&](std::size_t t, std::size_t i) {
                double const now = static_cast<double>(x[t][i]);
                return now + (static_cast<double>(before[t][i]) - now) * static_cast<double>(static_cast<float>(mu[o][i]));
            });
            if (!(e < 1e-6) || !y[o].guards_intact()) return false;
        }
        return true;
    }
};

}  // namespace

TEST_CASE_TEMPLATE("token_shift of any width, alignment and stride, with several outputs and sequences", T, float, gf::bf16, gf::half) {
    on here;
    each_set([&](kernel_table const& table) {
        each_layout([&](layout const& l) {
            for (std::size_t count : counts{1, 2, 5}) {
                shift<T> s(l, count);
                field<float> const x(l), prev({2, l.width, l.offset});
                auto const before = rows_before(x, prev, {0, l.size / 2, l.size});
                s.run(table, here.be, x, before);
                CHECK(s.holds(x, before));
            }
        });
    });
}

TEST_CASE_TEMPLATE("token_shift on any number of threads", T, float, gf::bf16, gf::half) {
    each_set([&](kernel_table const& table) {
        layout const l{300, 133, 1, 2};
        field<float> const x(l), prev({4, l.width});
        auto const before = rows_before(x, prev, {0, 1, 1, 200, 300});
        shift<T> s(l, 5);
        for (std::size_t threads : counts{1, 2, 3}) {
            on place(threads);
            auto const last = s.y;
            s.run(table, place.be, x, before);
            CHECK(s.holds(x, before));
            if (threads > 1) CHECK(last == s.y);
        }
    });
}
