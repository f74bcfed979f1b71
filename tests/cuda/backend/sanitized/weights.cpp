// SPDX-License-Identifier: Apache-2.0
// Weight formats, memory and errors of the CUDA backend in emulation.
#include <goldfinch/cuda.cuh>

#include <goldfinch/backend/reference.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "../../../golden.hpp"
#include "small.hpp"

namespace {

/// How far two models' logits are from each other, after a prompt and after steps.
template <class A, class B>
double distance(A const& a, B const& b) {
    gf::session x{a};
    gf::session y{b};
    auto const prompt = text(70);
    x.append(prompt), y.append(prompt);
    double worst = golden::distance(x.logits(), y.logits());
    for (gf::token t = 0; t < 3; ++t) worst = std::max(worst, golden::distance(x.step(t), y.step(t)));
    return worst;
}

using oracle = gf::model<C, gf::reference, gf::compressed_keys<float>>;

/// How far a random model is from the oracle with the same weights, which are saved and read again.
template <class Weight>
double weight_distance() {
    using gpu = gf::model<C, gf::cuda<Weight>, gf::compressed_keys<float>>;
    auto const path = std::filesystem::temp_directory_path() / ("goldfinch_cuda_weights_" + std::to_string(sizeof(Weight)));
    gpu::random(1, {.threads = 2}).save(path);
    auto const lm = gpu::load(path, {.threads = 1});
    double const d = distance(lm, oracle::load(path, {.threads = 1}));
    std::filesystem::remove(path);
    return d;
}

}  // namespace

TEST_CASE("weights of every format give what the oracle makes of them") {
    CHECK(weight_distance<float>() <= 3e-5);
    // A prompt's products take activations in the type of the weights then, or in bf16.
    CHECK(weight_distance<gf::half>() <= 3e-3);
    CHECK(weight_distance<gf::bf16>() <= 0.1);
    CHECK(weight_distance<gf::int8>() <= 0.1);
    CHECK(weight_distance<gf::int4>() <= 0.1);
}

TEST_CASE("without a GPU a model says so when it is made, and one on the CPU runs") {
    using gpu = gf::model<C, gf::cuda<float>, gf::compressed_keys<float>>;
    auto& device = emulation::device::get();
    device.count = 0;
    std::string said;
    try {
        (void)gpu::random(1);
    } catch (gf::cuda_error const& e) {
        said = e.what();
    }
    CHECK(said.find("cudaGetDevice") != said.npos);
    CHECK(said.find("cudaErrorNoDevice") != said.npos);
    gf::session session{oracle::random(1, {.threads = 1})};
    CHECK(session.step(1).size() == 64);
    device.count = 1;
    CHECK_THROWS_AS((void)gpu::random(1, {.device = 3}), gf::cuda_error);
    CHECK_THROWS_AS((void)gpu::load("no such file"), gf::load_error);
}

TEST_CASE("weights reach the device piece by piece, and loading says how far it is") {
    std::vector<std::byte> host(1000), back(host.size());
    for (std::size_t i = 0; i < host.size(); ++i) host[i] = static_cast<std::byte>(i % 251);
    gf::cuda_buffer<std::byte> device(host.size());
    gf::detail::cuda_uploads copies(96);
    copies.copy(device.data(), host.data(), 500);
    copies.copy(device.data() + 500, host.data() + 500, 500);
    copies.finish();
    gf::cuda<float>::download(device.data(), back.data(), back.size());
    CHECK(back == host);

    using gpu = gf::model<C, gf::cuda<float>, gf::compressed_keys<float>>;
    auto const path = std::filesystem::temp_directory_path() / "goldfinch_cuda_uploads";
    gpu::random(1, {.threads = 1}).save(path);
    std::size_t done = 0, total = 0;
    (void)gpu::load(path, {.threads = 1, .on_progress = [&](std::size_t n, std::size_t of) {
        CHECK(n > done);
        done = n, total = of;
    }});
    CHECK(done == total);
    CHECK(total == 4 * gpu::n_parameters);
    std::filesystem::remove(path);
}

TEST_CASE("a session that finds no memory stays as it was, and a pass that has begun ends with memory of the host") {
    using gpu = gf::model<C, gf::cuda<float>, gf::compressed_keys<float>>;
    auto& device = emulation::device::get();
    auto const all = device.properties.totalGlobalMem;
    auto const prompt = text(300);
    gf::session whole{gpu::random(1, {.threads = 1})};
    whole.append(prompt);
    auto const expected = whole.logits();
    std::size_t failed = 0, ended_on_host = 0;
    for (std::size_t const left : {0, 1 << 16, 1 << 18, 1 << 20}) {
        CAPTURE(left);
        gf::session session{gpu::random(1, {.threads = 1})};
        session.append(std::span(prompt).first(20));
        session.logits();
        std::size_t const pinned = device.pinned_pieces();
        device.properties.totalGlobalMem = device.bytes() + left;
        try {
            session.append(std::span(prompt).subspan(20));
            ended_on_host += device.pinned_pieces() > pinned;
        } catch (gf::cuda_error const& e) {
            ++failed;
            CHECK(std::string(e.what()).find("cudaMalloc") != std::string::npos);
            CHECK(session.position() == 20);
        }
        device.properties.totalGlobalMem = all;
        session.append(std::span(prompt).subspan(session.position()));
        CHECK(golden::distance(session.logits(), expected) <= 3e-5);
    }
    CHECK(failed > 0);
    CHECK(ended_on_host > 0);
    gf::session const session{gpu::random(1, {.threads = 1})};
    device.fail_allocation(1);
    CHECK_THROWS_AS(gf::session{session}, gf::cuda_error);
    device.fail_allocation(0);
}

TEST_CASE("everything lies on the device that the options name") {
    using gpu = gf::model<C, gf::cuda<float>, gf::compressed_keys<float>>;
    auto& device = emulation::device::get();
    std::size_t const there = device.bytes_on(0);
    device.count = 2;
    {
        auto const path = std::filesystem::temp_directory_path() / "goldfinch_cuda_device";
        gpu::random(1, {.threads = 2, .device = 1}).save(path);
        gf::session session{gpu::load(path, {.threads = 2, .device = 1})};
        std::filesystem::remove(path);
        session.append(text(70));
        session.logits();
        auto const fork = session;
        CHECK(device.bytes_on(1) > 4 * gpu::n_parameters);
        CHECK(device.bytes_on(0) == there);
    }
    CHECK(device.bytes_on(1) == 0);
    CHECK(device.current() == 0);
    device.count = 1;
}

TEST_CASE("what a model and its sessions take of a GPU goes with them") {
    auto& device = emulation::device::get();
    std::size_t const pieces = device.pieces(), handles = device.handles();
    {
        using gpu = gf::model<C, gf::cuda<float>, gf::compressed_keys<float>>;
        gf::session session{gpu::random(1, {.threads = 1})};
        session.append(text(140));
        session.logits();
        auto const fork = session;
        CHECK(device.pieces() > pieces);
    }
    CHECK(device.pieces() == pieces);
    CHECK(device.handles() == handles);
}
