// SPDX-License-Identifier: Apache-2.0
// Decoding by CUDA graphs in emulation: the same bits as without them, and how much a token launches.
#include <goldfinch/cuda.cuh>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdlib>
#include <iostream>
#include <span>
#include <string>
#include <vector>

namespace gf = goldfinch;

namespace {

inline constexpr gf::config C = gf::checked({.vocab_size = 64, .n_layer = 6, .n_gold = 2, .n_embd = 32, .head_size = 16});
using model = gf::model<C, gf::cuda<float>, gf::compressed_keys<float>>;

/// A model that decodes with graphs or without.
model make(bool graphs, std::size_t working_set = std::size_t{1} << 24) {
    ::setenv("GOLDFINCH_CUDA_GRAPHS", graphs ? "on" : "off", 1);
    auto lm = model::random(1, {.threads = 1, .working_set = working_set});
    ::unsetenv("GOLDFINCH_CUDA_GRAPHS");
    return lm;
}

std::vector<gf::token> text(std::size_t n) {
    std::vector<gf::token> result(n);
    for (std::size_t i = 0; i < n; ++i) result[i] = static_cast<gf::token>((5 + 11 * i + i * i / 3) % C.vocab_size);
    return result;
}

/// The logits of steps: of a session over the end of a page, of it with forks and one of another length together, of several tokens at once.
std::vector<float> decode(model const& lm) {
    std::vector<float> seen;
    auto const see = [&](std::span<float const> logits) { seen.insert(seen.end(), logits.begin(), logits.end()); };
    gf::session first{lm};
    first.append(text(61));
    for (gf::token t = 0; t < 6; ++t) see(first.step(t));
    std::vector<gf::session<model>> all{first, first, gf::session{lm}};
    for (gf::token t = 0; t < 3; ++t) {
        gf::step(all, std::vector<gf::token>{t, 7, t + 1});
        for (auto& session : all) see(session.logits());
        if (t == 0) all.pop_back(), all.push_back(all[0]);
    }
    for (std::size_t i = 0; i < 2; ++i) see(all[1].step(text(3)));
    see(first.step(9));
    return seen;
}

}  // namespace

TEST_CASE("logits by graphs have the bits of those without") {
    auto& device = emulation::device::get();
    std::size_t const graphs = device.graph_launches();
    auto const expected = decode(make(false));
    CHECK(device.graph_launches() == graphs);
    CHECK(decode(make(true)) == expected);
    CHECK(device.graph_launches() > graphs + 10);
    CHECK(decode(make(true, 0)) == expected);  // whose keys and values are made again at every step

    // Where CUDA has no memory for graphs.
    device.has_memory_for_graphs = false;
    std::size_t const before = device.graph_launches();
    CHECK(decode(make(true)) == expected);
    CHECK(device.graph_launches() == before);
    device.has_memory_for_graphs = true;

    // A host that does not wait for the graph, or fills memory that it is still to read.
    device.deferred = true;
    CHECK(decode(make(true)) == expected);
    device.deferred = false;

}

TEST_CASE("a graph whose nodes keep old arguments gives other logits") {
    auto& device = emulation::device::get();
    auto const after_steps = [] {
        gf::session session{make(true)};
        for (gf::token t = 0; t < 6; ++t) session.step(t);
        auto const logits = session.logits();
        return std::vector<float>(logits.begin(), logits.end());
    };
    auto const expected = after_steps();
    device.changes_nodes = false;
    CHECK(after_steps() != expected);
    device.changes_nodes = true;
    CHECK(after_steps() == expected);
}

TEST_CASE("a token is two graphs of which little changes") {
    auto& device = emulation::device::get();
    auto const lm = make(true);
    gf::session session{lm};
    session.append(text(5));
    for (gf::token t = 0; t < 4; ++t) session.step(t);
    std::size_t const calls = device.launch_calls(), graphs = device.graph_launches(), changed = device.changed_nodes(), launches = device.launches();
    for (gf::token t = 0; t < 10; ++t) session.step(t);
    CHECK(device.launch_calls() == calls);
    CHECK(device.graph_launches() == graphs + 20);
    CHECK(device.changed_nodes() <= changed + 200);
    std::cout << "a token at L6 with 2 GOLD blocks: " << (device.launches() - launches) / 10 << " launches in 2 graphs, of which "
              << (device.changed_nodes() - changed) / 10 << " change\n";
}

TEST_CASE("memory that is freed while work that uses it is recorded goes later") {
    gf::cuda_runtime runtime(1);
    auto& device = emulation::device::get();
    std::size_t const pieces = device.pieces();
    {
        gf::cuda_buffer<float> y(4);
        gf::cuda_runtime::lease const lease(runtime);
        gf::cuda<float> const be(lease.executor());
        {
            gf::cuda_buffer<float> x(4);
            copy(be, gf::sequence<float const, 4>{x.data(), 1}, gf::sequence<float, 4>{y.data(), 1});
        }
        CHECK(device.pieces() == pieces + 2);
        float host[4] = {1, 1, 1, 1};
        read_rows(be, gf::sequence<float, 4>{y.data(), 1}, host);
        CHECK(host[3] == 0);
        CHECK(device.pieces() == pieces + 1);
    }
    CHECK(device.pieces() == pieces);
}

TEST_CASE("what goes wrong at the end of a lease is said by the next") {
    gf::cuda_runtime runtime(1);
    gf::cuda_buffer<float> y(4);
    auto& device = emulation::device::get();
    {
        gf::cuda_runtime::lease const lease(runtime);
        clear(gf::cuda<float>(lease.executor()), gf::sequence<float, 4>{y.data(), 1});
        device.count = 0;
    }
    device.count = 1;
    CHECK_THROWS_WITH_AS(gf::cuda_runtime::lease{runtime}, doctest::Contains("cudaLaunchKernel"), gf::cuda_error);
    ::setenv("GOLDFINCH_CUDA_GRAPHS", "perhaps", 1);
    CHECK_THROWS_WITH_AS(gf::cuda_runtime{1}, doctest::Contains("GOLDFINCH_CUDA_GRAPHS"), gf::config_error);
    ::unsetenv("GOLDFINCH_CUDA_GRAPHS");
}
