// SPDX-License-Identifier: Apache-2.0
#include <goldfinch/goldfinch.hpp>

#include <doctest/doctest.h>

#include <csignal>
#include <cstddef>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

// What operations assert where NDEBUG is not defined. A program of its own: a test may not have some functions with assertions and some without.

namespace gf = goldfinch;

namespace {

constexpr std::size_t D = 32, T = 3;

template <class Backend>
struct work {
    using S = typename Backend::scalar;
    gf::cpu_runtime runtime{1};
    gf::cpu_runtime::lease lease{runtime};
    Backend be{lease.executor()};
    std::vector<S> memory = std::vector<S>(8 * T * D);

    gf::outputs<Backend, D> rows(std::size_t n, std::size_t i = 0) { return {memory.data() + i * T * D, n}; }
};

/// Whether f(work) ends its process by an assertion.
template <class Backend, class F>
bool asserts(F const& f) {
    ::pid_t const child = ::fork();
    if (child == 0) {
        std::signal(SIGABRT, SIG_DFL);  // doctest's handler would report it
        ::close(STDERR_FILENO);
        work<Backend> w;
        f(w);
        ::_exit(0);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

auto const add_one = []<class S>(S& z, S x) { z += x + 1; };
auto const sum = []<class S>(S& s, S x) { s += x; };

}  // namespace

TEST_CASE("the reference asserts rows that are as many and do not overlap") {
    using be = gf::reference;
    gf::matrix<double const, D, D> const none;
    CHECK_FALSE(asserts<be>([](auto& w) { add(w.be, w.rows(T), w.rows(T, 1)); }));
    CHECK(asserts<be>([](auto& w) { add(w.be, w.rows(T), w.rows(T - 1, 1)); }));
    CHECK(asserts<be>([](auto& w) { copy(w.be, gf::inputs<be, D>(w.rows(T)), w.rows(T - 1, 1)); }));
    CHECK(asserts<be>([&](auto& w) { linear(w.be, none, w.rows(T), w.rows(T - 1, 1)); }));
    CHECK(asserts<be>([&](auto& w) { linear(w.be, none, w.rows(T), w.rows(T)); }));
    CHECK(asserts<be>([&](auto& w) { linear(w.be, none, w.rows(T), w.rows(2 * T).from(1).first(T)); }));
    CHECK_FALSE(asserts<be>([](auto& w) { rms_norm(w.be, w.rows(T), w.rows(T)); }));  // which may write where it reads
    CHECK(asserts<be>([](auto& w) { rms_norm(w.be, w.rows(T), w.rows(2 * T).from(1).first(T)); }));
    CHECK(asserts<be>([](auto& w) {
        gf::single<double> one(w.memory.data(), T, 0);
        keep_last(w.be, gf::inputs<be, D>(w.rows(T - 1, 1)), one.state<be, D>());
    }));
}

TEST_CASE("different channels of the same rows do not overlap") {
    std::vector<float> memory(4 * 64);
    gf::sequence<float, 64> const all{memory.data(), 4};
    auto const left = all.channels<0, 32>(), right = all.channels<32, 32>(), middle = all.channels<16, 32>();
    CHECK(gf::detail::apart(left, right));
    CHECK(gf::detail::apart(right, left));
    CHECK_FALSE(gf::detail::apart(left, middle));
    CHECK_FALSE(gf::detail::apart(middle, right));
    CHECK_FALSE(gf::detail::apart(left, left));
    CHECK(gf::detail::apart(all.first(2), all.from(2)));
    CHECK_FALSE(gf::detail::apart(all.first(3), all.from(2)));
    CHECK(gf::detail::apart(all.first(0), all));
}

TEST_CASE_TEMPLATE("functions of a mixer's own assert rows that are as many on every CPU backend", Backend, gf::reference, gf::simd<float>) {
    CHECK_FALSE(asserts<Backend>([](auto& w) { transform(w.be, add_one, w.rows(T), w.rows(T, 1)); }));
    CHECK(asserts<Backend>([](auto& w) { transform(w.be, add_one, w.rows(T), w.rows(T - 1, 1)); }));
    auto const scan_rows = [](std::size_t n) {
        return [n](auto& w) {
            gf::single<typename Backend::scalar> one(w.memory.data(), T, 0);
            scan(w.be, sum, one.template state<Backend, D>(), w.rows(n, 1));
        };
    };
    CHECK_FALSE(asserts<Backend>(scan_rows(T)));
    CHECK(asserts<Backend>(scan_rows(T - 1)));
    auto const heads = [](std::size_t n) {
        return [n](auto& w) { inner_product(w.be, w.rows(T), w.rows(T, 1), gf::outputs<Backend, 2>{w.memory.data() + 2 * T * D, n}); };
    };
    CHECK_FALSE(asserts<Backend>(heads(T)));
    CHECK(asserts<Backend>(heads(T - 1)));
}
