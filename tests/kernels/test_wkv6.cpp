// SPDX-License-Identifier: Apache-2.0
#include "kernel_test.hpp"

namespace {

/// Inputs of some sequences, whose rows are [first[s], first[s + 1]).
template <class T>
struct inputs {
    inputs(std::vector<std::size_t> const& boundaries, std::size_t h, std::size_t head_size, bool odd)
        : heads(h),
          n(head_size),
          first(boundaries),
          lie{first.back(), h * n, odd ? 1u : 0u, odd ? 3u : 0u},
          r(lie),
          k(lie),
          v(lie),
          w(lie),
          y(lie),
          u({1, h * n, lie.offset}),
          state({first.size() - 1, h * n * n + 7, lie.offset}) {
        for (std::size_t t = 0; t < lie.size; ++t)
            for (std::size_t i = 0; i < lie.width; ++i) w[t][i] = std::exp(-std::exp(w[t][i]));
    }
    std::size_t heads, n;
    std::vector<std::size_t> first;
    layout lie;
    field<float> r, k, v, w, y;
    field<T> u;
    field<float> state;

    /// Rows of sequence s from `begin` on, at most `count` of them, for every sequence.
    void run(kernel_table const& table, gf::cpu_executor const& at, bool bonus, bool in_place) {
        run(table, at, bonus, in_place, first, 0, state.size());
    }
    void run(kernel_table const& table, gf::cpu_executor const& at, bool bonus, bool in_place, std::vector<std::size_t> const& boundaries,
             std::size_t from_sequence, std::size_t sequences) {
        constexpr std::size_t offset = 7;  // the tensor is not the first of the state
        std::vector<float*> base(sequences);
        for (std::size_t s = 0; s < sequences; ++s) base[s] = state[from_sequence + s];
        std::size_t const begin = boundaries.front(), size = boundaries.back() - begin;
        std::vector<std::size_t> relative(boundaries);
        for (std::size_t& b : relative) b -= begin;
        auto const part = [&](field<float>& x) { return x.part(begin, size); };
        weights<T>(table).wkv6(at, heads, n, part(r), part(k), part(v), part(w), bonus ? u[0] : nullptr,
                               {sequences, base.data(), offset, relative.data()}, part(in_place ? r : y));
    }

    /// The recurrence in double, straight from its definition; `terms` are the sums of the absolute values of what each of `out` adds up.
    void recurrence(bool bonus, std::vector<double>& out, std::vector<double>& terms, std::vector<double>& end) const {
        out.assign(lie.size * lie.width, 0);
        terms.assign(out.size(), 0);
        end.assign(state.size() * state.width(), 0);
        auto const d = [](auto x) { return static_cast<double>(static_cast<float>(x)); };
        for (std::size_t s = 0; s < state.size(); ++s)
            for (std::size_t i = 0; i < state.width(); ++i) end[s * state.width() + i] = d(state[s][i]);
        for (std::size_t s = 0; s < state.size(); ++s)
            for (std::size_t h = 0; h < heads; ++h)
                for (std::size_t i = 0; i < n; ++i)
                    for (std::size_t j = 0; j < n; ++j) {
                        double& x = end[s * state.width() + 7 + (h * n + i) * n + j];
                        std::size_t const c = h * n + i;
                        for (std::size_t t = first[s]; t < first[s + 1]; ++t) {
                            double const kv = d(k[t][c]) * d(v[t][h * n + j]);
                            double const added = bonus ? d(u[0][c]) * kv : 0;
                            out[t * lie.width + h * n + j] += d(r[t][c]) * (x + added);
                            terms[t * lie.width + h * n + j] += std::abs(d(r[t][c])) * (std::abs(x) + std::abs(added));
                            x = d(w[t][c]) * x + kv;
                        }
                    }
    }
};

template <class T>
void check(kernel_table const& table, gf::cpu_executor const& at, inputs<T> in, bool bonus, bool in_place) {
    std::vector<double> y, terms, state;
    in.recurrence(bonus, y, terms, state);
    in.run(table, at, bonus, in_place);
    auto& out = in_place ? in.r : in.y;
    auto const at_y = [&](std::vector<double> const& x) { return [&](std::size_t t, std::size_t i) { return x[t * in.lie.width + i]; }; };
    CHECK(error(out, at_y(y), at_y(terms)) < 1e-6);
    CHECK(error(in.state, [&](std::size_t s, std::size_t i) { return state[s * in.state.width() + i]; }) < 2e-6);
    CHECK(out.guards_intact());
    CHECK(in.state.guards_intact());
}

}  // namespace

TEST_CASE("wkv6 of any head size, alignment and stride, with and without bonus, in place") {
    on here;
    each_set([&](kernel_table const& table) {
        for (std::size_t n = 1; n <= 5 * most_lanes + 1; ++n)
            for (std::size_t heads : counts{1, 3})
                for (std::size_t size : counts{0, 1, 5, 33})
                    for (bool const odd : {false, true}) check(table, here.be, inputs<float>({0, size}, heads, n, odd), odd, n % 2 == 0);
    });
}

TEST_CASE_TEMPLATE("wkv6 of several sequences", T, float, gf::bf16, gf::half) {
    on here, three(3);
    each_set([&](kernel_table const& table) {
        for (on* place : {&here, &three})
            for (bool const bonus : {false, true})
                for (bool const in_place : {false, true}) {
                    check(table, place->be, inputs<T>({0, 1, 2, 3, 4}, 2, 24, true), bonus, in_place);
                    check(table, place->be, inputs<T>({0, 33, 33, 110}, 1, 40, true), bonus, in_place);
                    check(table, place->be, inputs<T>({0, 50, 110}, 1, 100, false), bonus, in_place);
                }
    });
}

TEST_CASE("wkv6 is bit-equal for any number of threads, any split of the tokens, alone or among others") {
    on here, two(2), three(3);
    each_set([&](kernel_table const& table) {
        for (std::size_t heads : counts{1, 2, 5})
            for (std::size_t n : counts{64, 100})
                for (bool const in_place : {false, true}) {
                    inputs<float> const start({0, 70, 111}, heads, n, true);
                    inputs<float> one = start;
                    one.run(table, here.be, true, in_place);
                    auto const same = [&](inputs<float> const& other) { return other.y == one.y && other.r == one.r && other.state == one.state; };
                    for (on* place : {&two, &three}) {
                        inputs<float> many = start, each = start;
                        many.run(table, place->be, true, in_place);
                        CHECK(same(many));
                        each.run(table, place->be, true, in_place, {0, 70}, 0, 1);
                        each.run(table, place->be, true, in_place, {70, 111}, 1, 1);
                        CHECK(same(each));
                    }
                    inputs<float> split = start;
                    for (std::size_t at : counts{0, 1, 17, 57}) {
                        std::size_t const next = at == 0 ? 1 : at == 1 ? 17 : at == 17 ? 57 : 70;
                        split.run(table, here.be, true, in_place, {at, next}, 0, 1);
                    }
                    split.run(table, here.be, true, in_place, {70, 111}, 1, 1);
                    CHECK(same(split));
                }
    });
}
