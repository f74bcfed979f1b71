// SPDX-License-Identifier: Apache-2.0
// Decoding by CUDA graphs in emulation: the same bits as without them, and how much a token launches.
#include <goldfinch/cuda.cuh>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <random>
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

/// Rows that operations read and write, and a state for each sequence.
constexpr std::size_t D = 32, R = 16, n_rows = 10;
struct memory {
    gf::cuda_buffer<float> rows{n_rows * D}, low{n_rows * R}, states{n_rows * D}, weights{D * D};

    void fill(std::mt19937& random) {
        for (auto* const buffer : {&rows, &low, &states, &weights}) {
            std::vector<float> host(buffer->size());
            for (float& x : host) x = std::uniform_real_distribution<float>(-0.3f, 0.3f)(random);
            gf::detail::cuda_driver<>::upload(buffer->data(), host.data(), host.size() * sizeof(float));
        }
    }
    /// The bits of all but the weights.
    std::vector<std::uint32_t> read() const {
        std::vector<std::uint32_t> host;
        for (auto const* const buffer : {&rows, &low, &states}) {
            host.resize(host.size() + buffer->size());
            gf::detail::cuda_driver<>::download(buffer->data(), host.data() + host.size() - buffer->size(), buffer->size() * sizeof(float));
        }
        return host;
    }
};

/// Some operations on rows that may be those of operations before, or overlap them.
std::vector<std::uint32_t> some_operations(bool graphs, unsigned seed) {
    std::mt19937 random(seed);
    auto const below = [&](std::size_t n) { return random() % n; };
    std::size_t const T = 1 + below(3);
    bool const one_sequence = below(2) == 0;
    memory on_device;
    on_device.fill(random);
    std::vector<float*> states;
    std::vector<std::size_t> first{0}, position;
    for (std::size_t i = 0; i < (one_sequence ? 1 : T); ++i)
        states.push_back(on_device.states.data() + i * D), first.push_back(one_sequence ? T : i + 1), position.push_back(i);
    gf::batch<float> const sequences{states.size(), states.data(), first.data(), position.data()};
    gf::state_tensor<gf::cuda<float>, D> const state{&sequences, 0};

    ::setenv("GOLDFINCH_CUDA_GRAPHS", graphs ? "on" : "off", 1);
    gf::cuda_runtime runtime(1);
    ::unsetenv("GOLDFINCH_CUDA_GRAPHS");
    gf::cuda_runtime::lease const lease(runtime);
    gf::cuda<float> const be(lease.executor());
    float const* const w = on_device.weights.data();
    gf::norm_weights<float const, D> const norm{{w}, {w + D}};
    gf::matrix<float const, D, R> const w1{w};
    gf::matrix<float const, R, D> const w2{w + D};
    gf::vector<float const, D> const mu{w + 3 * D}, v{w + 5 * D};
    for (std::size_t i = 0; i < 40; ++i) {
        std::size_t at[3] = {};  // where rows begin
        auto const overlap = [&](std::size_t a, std::size_t b) { return at[a] < at[b] + T && at[b] < at[a] + T; };
        do {
            for (std::size_t& begin : at) begin = below(n_rows - T + 1);
        } while (overlap(0, 1) || overlap(0, 2) || overlap(1, 2));
        auto const rows = [&](std::size_t k) { return gf::sequence<float, D>{on_device.rows.data() + at[k] * D, T}; };
        auto const x = rows(0), y = rows(1), z = rows(2);
        gf::sequence<float, R> const h{on_device.low.data() + at[0] * R, T};
        switch (below(16)) {
            case 0: case 1: case 2: linear(be, gf::matrix<float const, D, D>{w}, x, y); break;
            case 3: relu_squared(be, below(2) == 0 ? y : y.first(1)); break;
            case 4: add(be, x, y); break;
            case 5: sigmoid_gate(be, x, y); break;
            case 6: silu_gate(be, x, y); break;
            case 7: layer_norm(be, norm, x, below(2) == 0 ? x : y, 1e-5, 1 + below(2)); break;
            case 8: lora(be, v, x, w1, w2, y); break;
            case 9: lora(be, x, w1, w2, below(2) == 0 ? x : y); break;
            case 10: lora_down(be, x, w1, h); break;
            case 11: lora_up(be, h, w2, y); break;
            case 12: decay(be, y); break;
            case 13: decay(be, y, x); break;
            case 14: token_shift(be, x, state, mu, y); if (below(2) == 0) lora_down(be, y, w1, h); break;
            default: token_shift(be, x, state, {mu, v}, {y, z}); if (below(2) == 0) keep_last(be, x, state); break;
        }
    }
    return on_device.read();
}

}  // namespace

TEST_CASE("operations whose launches are joined do what they do one by one") {
    auto& device = emulation::device::get();
    std::size_t alone = 0, joined = 0;
    for (unsigned seed = 0; seed < 60; ++seed) {
        std::size_t const begin = device.launches();
        auto const expected = some_operations(false, seed);
        std::size_t const middle = device.launches();
        CHECK(some_operations(true, seed) == expected);
        alone += middle - begin, joined += device.launches() - middle;
        emulation::scoped_order const descending(emulation::orders[1]);  // the blocks of what was joined last run first
        CHECK(some_operations(true, seed) == expected);
    }
    CHECK(joined < alone * 9 / 10);
}

TEST_CASE("logits by graphs have the bits of those without") {
    auto& device = emulation::device::get();
    std::size_t const graphs = device.graph_launches();
    auto const expected = decode(make(false));
    CHECK(device.graph_launches() == graphs);
    CHECK(decode(make(true)) == expected);
    CHECK(device.graph_launches() > graphs + 10);
    CHECK(decode(make(true, 0)) == expected);  // whose keys and values are made again at every step

    // A host that does not wait for the graph, or fills memory that it is still to read.
    device.deferred = true;
    CHECK(decode(make(true)) == expected);
    device.deferred = false;
}

TEST_CASE("a graph whose nodes keep old arguments gives other logits, and launches without memory for graphs the same") {
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
    device.has_memory_for_graphs = false;
    std::size_t const graphs = device.graph_launches();
    CHECK(after_steps() == expected);
    CHECK(device.graph_launches() == graphs);
    device.has_memory_for_graphs = true;
}

TEST_CASE("a token is two graphs of few launches, of which little changes") {
    auto& device = emulation::device::get();
    auto const lm = make(true);
    gf::session session{lm};
    session.append(text(5));
    for (gf::token t = 0; t < 4; ++t) session.step(t);
    std::size_t const calls = device.launch_calls(), graphs = device.graph_launches(), changed = device.changed_nodes(), launches = device.launches();
    for (gf::token t = 0; t < 10; ++t) session.step(t);
    CHECK(device.launch_calls() == calls);
    CHECK(device.graph_launches() == graphs + 20);
    CHECK(device.changed_nodes() <= changed + 100);
    CHECK(device.launches() <= launches + 10 * 130);  // 196 for each token where none are joined
}

TEST_CASE("memory that is freed while work that uses it is recorded goes later") {
    gf::cuda_runtime runtime(1);
    auto& device = emulation::device::get();
    std::size_t const pieces = device.pieces();
    {
        gf::cuda_buffer<float> x(4), y(4);
        float const ones[4] = {1, 1, 1, 1};
        gf::detail::cuda_driver<>::upload(x.data(), ones, sizeof ones);
        gf::cuda_runtime::lease const lease(runtime);
        copy(gf::cuda<float>(lease.executor()), gf::sequence<float const, 4>{x.data(), 1}, gf::sequence<float, 4>{y.data(), 1});
        x.resize(0);
        CHECK(device.pieces() == pieces + 2);
        float host[4] = {};
        read_rows(gf::cuda<float>(lease.executor()), gf::sequence<float, 4>{y.data(), 1}, host);
        CHECK(host[3] == 1);
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
