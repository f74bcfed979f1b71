// SPDX-License-Identifier: Apache-2.0
#include "kernels.hpp"

#include <goldfinch/cuda.cuh>

#include "timer.cuh"

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

namespace gpu {

namespace {

constexpr std::size_t D = 2048, F = 7168, N = 64, H = D / N;
constexpr std::size_t cold_bytes = std::size_t{256} << 20;  // more than any L2 keeps
using backend = gf::cuda<gf::bf16>;

/// As models make it, or by the kernel of ours that is for many rows.
timing product(backend const& be, std::size_t rows, bool own = false) {
    constexpr std::size_t bytes = F * D * sizeof(gf::bf16), copies = cold_bytes / bytes + 1;
    auto const w = filled<gf::bf16>(copies * F * D);
    auto const x = filled<float>(rows * D);
    gf::cuda_buffer<float> y(rows * F);
    double const time = seconds(be, [&](std::size_t i) {
        gf::matrix<gf::bf16 const, F, D> const weights{w.data() + i % copies * F * D};
        gf::sequence<float const, D> const from{x.data(), rows};
        gf::sequence<float, F> const to{y.data(), rows};
        if (own)
            device::launch_mma(be, device::weight_rows<gf::bf16 const*>(weights.data, D), gf::detail::device_rows(from), gf::detail::device_rows(to));
        else
            linear(be, weights, from, to);
    });
    double const n = static_cast<double>(rows);
    std::string const what = "product 2048 to 7168, bf16, " + std::to_string(rows) + (own ? " rows, mma_kernel" : " rows");
    return {what, time, bytes + n * (D + F) * sizeof(float), 2 * n * D * F};
}

/// The recurrence with a thread a value channel, which has a column of the state and reads all tokens one after another.
__global__ void __launch_bounds__(N) serial_wkv6_kernel(float const* r, float const* k, float const* v, float const* w, float* state, unsigned n, float* y) {
    __shared__ float token[3][N];
    unsigned const head = blockIdx.x, value = threadIdx.x;
    float S[N];
    GOLDFINCH_DEVICE_UNROLL
    for (unsigned key = 0; key < N; ++key) S[key] = state[(head * N + key) * N + value];
    for (unsigned t = 0; t < n; ++t) {
        std::size_t const at = std::size_t{t} * D + head * N + value;
        __syncthreads();
        token[0][value] = r[at], token[1][value] = k[at], token[2][value] = w[at];
        __syncthreads();
        float const own = v[at];
        float sum = 0;
        GOLDFINCH_DEVICE_UNROLL
        for (unsigned key = 0; key < N; ++key) {
            sum = fmaf(token[0][key], S[key], sum);
            S[key] = fmaf(token[2][key], S[key], token[1][key] * own);
        }
        y[at] = sum;
    }
    GOLDFINCH_DEVICE_UNROLL
    for (unsigned key = 0; key < N; ++key) state[(head * N + key) * N + value] = S[key];
}

timing wkv6_of(backend const& be, std::size_t tokens, bool serial) {
    std::size_t const size = tokens * D, copies = cold_bytes / (size * 4 * sizeof(float)) + 1;
    auto const r = filled<float>(copies * size), k = filled<float>(copies * size), v = filled<float>(copies * size), w = filled<float>(copies * size, 0.9f, 1);
    gf::cuda_buffer<float> y(size), state(H * N * N);
    gf::single<float> const one(state.data(), tokens, 0);
    double const time = seconds(be, [&](std::size_t i) {
        std::size_t const at = i % copies * size;
        auto const rows = [&](gf::cuda_buffer<float> const& x) { return gf::sequence<float const, D>{x.data() + at, tokens}; };
        if (serial)
            device::launch(be, serial_wkv6_kernel, dim3(H), dim3(N), 0, r.data() + at, k.data() + at, v.data() + at, w.data() + at, state.data(),
                           static_cast<unsigned>(tokens), y.data());
        else
            wkv6(be, rows(r), rows(k), rows(v), rows(w), one.state<backend, H, N, N>(), gf::sequence<float, D>{y.data(), tokens});
    });
    double const n = static_cast<double>(tokens);
    std::string const what = "WKV6, " + std::to_string(tokens) + (serial ? " tokens, a thread a channel" : " tokens");
    return {what, time, (5 * n * D + 2 * D * N) * sizeof(float), 5 * n * D * N};
}

/// Keys and values of one sequence, as softmax_attention asks for them.
struct pages {
    gf::bf16 const *keys, *values;
    std::size_t n;

    std::size_t positions(std::size_t) const { return n; }
    std::size_t owner(std::size_t sequence, std::size_t) const { return sequence; }
    template <class Read>
    void read(backend const&, std::size_t, std::size_t tile, Read const& f) const {
        std::size_t const first = tile * gf::detail::page_positions, size = std::min(gf::detail::page_positions, n - first);
        f(gf::sequence<gf::bf16 const, D>{keys + first * D, size}, gf::sequence<gf::bf16 const, D>{values + first * D, size});
    }
};

timing attention(backend const& be, std::size_t queries, std::size_t positions) {
    std::size_t const size = positions * D, copies = cold_bytes / (2 * size * sizeof(gf::bf16)) + 1;
    auto const keys = filled<gf::bf16>(copies * size), values = filled<gf::bf16>(copies * size);
    auto const q = filled<float>(queries * D);
    gf::cuda_buffer<float> y(queries * D);
    gf::single<float> const one(nullptr, queries, positions - queries);
    double const time = seconds(be, [&](std::size_t i) {
        std::size_t const at = i % copies * size;
        gf::softmax_attention<H>(be, one, gf::sequence<float const, D>{q.data(), queries}, pages{keys.data() + at, values.data() + at, positions},
                                 gf::sequence<float, D>{y.data(), queries});
    });
    double const n = static_cast<double>(positions), m = static_cast<double>(queries);
    return {"GOLD attention, bf16, " + std::to_string(queries) + " queries, " + std::to_string(positions) + " positions", time,
            2 * n * D * sizeof(gf::bf16) + 2 * m * D * sizeof(float), 4 * m * n * D};
}

}  // namespace

std::vector<timing> time_kernels() {
    gf::cuda_runtime runtime(1);
    gf::cuda_runtime::lease const lease(runtime);
    backend const be(lease.executor());
    std::vector<timing> result;
    for (std::size_t const rows : {1, 128, 256, 4096}) result.push_back(product(be, rows));
    for (std::size_t const rows : {128, 256, 4096}) result.push_back(product(be, rows, true));
    for (std::size_t const tokens : {1, 256, 4096}) result.push_back(wkv6_of(be, tokens, false));
    result.push_back(wkv6_of(be, 4096, true));
    for (std::size_t const queries : {1, 17}) result.push_back(attention(be, queries, 4096));
    return result;
}

}  // namespace gpu
