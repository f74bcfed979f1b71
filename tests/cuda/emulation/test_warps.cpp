// SPDX-License-Identifier: Apache-2.0
#include "faults.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cuda/emulation.hpp>
#include <random>
#include <string>
#include <vector>

// Shuffles and votes, fragments and products, and asynchronous copies.

namespace {

using emulation::buffer;
using emulation::difference_between_orders;
using emulation::launch;
using emulation::shared_memory;

constexpr unsigned whole = 0xffffffffu;
constexpr unsigned all_pieces = 5, piece_width = 64 * 4;

template <class T>
__global__ void shuffles(T* out, int width) {
    T mine = static_cast<T>(threadIdx.x + 1) * static_cast<T>(1.5);
    out += threadIdx.x * 4;
    out[0] = __shfl_sync(whole, mine, 5, width);
    out[1] = __shfl_up_sync(whole, mine, 3, width);
    out[2] = __shfl_down_sync(whole, mine, 3, width);
    out[3] = __shfl_xor_sync(whole, mine, 9, width);
}

__global__ void sum_by_shuffles(float const* in, float* out) {
    float* s = reinterpret_cast<float*>(shared_memory());
    float v = in[blockIdx.x * blockDim.x + threadIdx.x];
    for (int m = 16; m > 0; m /= 2) v += __shfl_xor_sync(whole, v, m);
    if (threadIdx.x % 32 == 0) s[threadIdx.x / 32] = v;
    __syncthreads();
    if (threadIdx.x < 32) {
        v = threadIdx.x < blockDim.x / 32 ? s[threadIdx.x] : 0;
        for (unsigned m = 16; m > 0; m /= 2) v += __shfl_down_sync(whole, v, m);
        if (threadIdx.x == 0) out[blockIdx.x] = v;
    }
}

__global__ void votes(unsigned* out) {
    unsigned lane = threadIdx.x % 32, w = threadIdx.x / 32;
    unsigned odd = __ballot_sync(whole, lane % 2);
    unsigned any = static_cast<unsigned>(__any_sync(whole, lane == 7 && w == 1)), all = static_cast<unsigned>(__all_sync(whole, lane < 32 && w != 0));
    unsigned half = 0;
    if (lane < 16) {
        half = __ballot_sync(0x0000ffffu, lane < 3);
    } else {
        half = __ballot_sync(0xffff0000u, lane > 29);
    }
    __syncwarp();
    if (lane == 0) out[w * 5] = odd;
    if (lane == 0) out[w * 5 + 1] = any;
    if (lane == 0) out[w * 5 + 2] = all;
    if (lane % 16 == 0) out[w * 5 + 3 + lane / 16] = half;
}

__global__ void active(unsigned* out) {
    if (threadIdx.x >= 4 && threadIdx.x < 32) return;
    unsigned present = threadIdx.x < 32 ? 0xfu : 0xffu;
    __syncwarp(present);
    unsigned seen = __activemask();
    __syncwarp(present);
    out[threadIdx.x] = seen;
}

unsigned short bf16_of(float x) { return static_cast<unsigned short>(std::bit_cast<std::uint32_t>(x) >> 16); }

/// d = c + a b, with all three row by row: fragments of a and b by ldmatrix.
__global__ void product(unsigned short const* a, unsigned short const* b, float const* c, float* d) {
    auto* s = reinterpret_cast<unsigned short*>(shared_memory());
    unsigned lane = threadIdx.x;
    for (unsigned i = lane; i < 256; i += 32) s[i] = a[i];
    for (unsigned i = lane; i < 256; i += 32) s[256 + i] = b[i];
    __syncwarp();
    unsigned fragment_a[4], fragments_b[4];
    emulation::ldmatrix_x4(fragment_a, s + lane % 16 * 16 + lane / 16 * 8);
    emulation::ldmatrix_x4_trans(fragments_b, s + 256 + lane % 16 * 16 + lane / 16 * 8);
    for (unsigned half = 0; half < 2; ++half) {
        unsigned fragment_b[2] = {fragments_b[half * 2], fragments_b[half * 2 + 1]};
        unsigned row = lane / 4, column = half * 8 + lane % 4 * 2;
        float sums[4] = {c[row * 16 + column], c[row * 16 + column + 1], c[(row + 8) * 16 + column], c[(row + 8) * 16 + column + 1]};
        emulation::mma_m16n8k16_bf16(sums, fragment_a, fragment_b);
        for (unsigned i = 0; i < 4; ++i) d[(row + i / 2 * 8) * 16 + column + i % 2] = sums[i];
    }
}

/// The layouts of PTX, element by element.
__global__ void product_by_layout(unsigned short const* a, unsigned short const* b, float* d) {
    unsigned lane = threadIdx.x, group = lane >> 2, in_group = lane & 3;
    auto pair = [](unsigned short low, unsigned short high) { return low | static_cast<unsigned>(high) << 16; };
    unsigned fragment_a[4], fragment_b[2];
    for (unsigned i = 0; i < 8; i += 2) {
        unsigned row = i < 2 || (i >= 4 && i < 6) ? group : group + 8, column = in_group * 2 + (i >= 4 ? 8 : 0);
        fragment_a[i / 2] = pair(a[row * 16 + column], a[row * 16 + column + 1]);
    }
    for (unsigned i = 0; i < 4; i += 2) {
        unsigned row = in_group * 2 + (i >= 2 ? 8 : 0);
        fragment_b[i / 2] = pair(b[row * 8 + group], b[(row + 1) * 8 + group]);
    }
    float sums[4] = {};
    emulation::mma_m16n8k16_bf16(sums, fragment_a, fragment_b);
    for (unsigned i = 0; i < 4; ++i) d[(i < 2 ? group : group + 8) * 8 + in_group * 2 + (i & 1)] = sums[i];
}

__global__ void fragments(unsigned* out, unsigned* transposed) {
    auto* s = reinterpret_cast<unsigned short*>(shared_memory());
    for (unsigned i = threadIdx.x; i < 256; i += 32) s[i] = static_cast<unsigned short>(i);
    __syncwarp();
    unsigned r[4];
    emulation::ldmatrix_x4(r, s + threadIdx.x * 8);
    for (unsigned i = 0; i < 4; ++i) out[threadIdx.x * 4 + i] = r[i];
    emulation::ldmatrix_x4_trans(r, s + threadIdx.x * 8);
    for (unsigned i = 0; i < 4; ++i) transposed[threadIdx.x * 4 + i] = r[i];
}

/// Copies in + 1 by two buffers of shared memory: the next piece is asked for before the last one is read. With Waits = 1 every piece has arrived.
template <int Waits>
__global__ void pipeline(float const* in, float* out, unsigned pieces) {
    float* s = reinterpret_cast<float*>(shared_memory());
    unsigned t = threadIdx.x, width = blockDim.x * 4;
    auto ask = [&](unsigned piece) {
        if (piece < pieces) emulation::cp_async_16(s + piece % 2 * width + t * 4, in + piece * width + t * 4);
        emulation::cp_async_commit();
    };
    ask(0);
    for (unsigned piece = 0; piece < pieces; ++piece) {
        ask(piece + 1);
        emulation::cp_async_wait<Waits>();
        __syncthreads();
        for (unsigned i = 0; i < 4; ++i) out[piece * width + i * blockDim.x + t] = s[piece % 2 * width + i * blockDim.x + t] + 1;
        __syncthreads();
    }
    emulation::cp_async_wait<0>();
}

__global__ void zeros(float const* in, float* out) {
    float* s = reinterpret_cast<float*>(shared_memory());
    emulation::cp_async_16(s + threadIdx.x * 4, in, threadIdx.x % 2 == 0);
    emulation::cp_async_commit();
    emulation::cp_async_wait<0>();
    for (unsigned i = 0; i < 4; ++i) out[threadIdx.x * 4 + i] = s[threadIdx.x * 4 + i];
}

// Planted faults.

__global__ void lane_missing(float* out) {
    if (threadIdx.x % 32 != 5) out[threadIdx.x] = __shfl_sync(whole, 1.0f, 0);
}

__global__ void lane_at_barrier(float* out) {
    if (threadIdx.x % 32 == 6) __syncthreads();
    out[threadIdx.x] = __shfl_xor_sync(whole, 1.0f, 1);
    if (threadIdx.x % 32 != 6) __syncthreads();
}

__global__ void shuffle_in_small_block(float* out) { out[threadIdx.x] = __shfl_xor_sync(whole, 1.0f, 1); }

__global__ void reads_lane_not_in_mask(float* out) {
    if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(0xffffu, 1.0f, 20);
}

__global__ void not_in_own_mask(float*) { __syncwarp(0xfu); }

__global__ void different_operations(float* out) {
    if (threadIdx.x < 3) {
        __syncwarp();
    } else {
        out[threadIdx.x] = static_cast<float>(__any_sync(whole, 1));
    }
}

__global__ void odd_width(float* out) { out[threadIdx.x] = __shfl_xor_sync(whole, 1.0f, 1, 12); }

__global__ void never_waits(float const* in, float* out) {
    float* s = reinterpret_cast<float*>(shared_memory());
    emulation::cp_async_16(s, in);
    emulation::cp_async_commit();
    out[0] = s[0];
}

__global__ void writes_the_source(float* in, float* out) {
    float* s = reinterpret_cast<float*>(shared_memory());
    emulation::cp_async_16(s, in);
    emulation::cp_async_commit();
    in[3] = 8;
    emulation::cp_async_wait<0>();
    out[0] = s[3];
}

__global__ void copies_to(unsigned offset, float const* in) {
    emulation::cp_async_16(shared_memory() + offset, in);
    emulation::cp_async_commit();
    emulation::cp_async_wait<0>();
}

__global__ void loads_fragment_at(unsigned offset) {
    unsigned r[4];
    emulation::ldmatrix_x4(r, shared_memory() + offset);
}

std::vector<unsigned short> random_bf16(std::size_t n, unsigned seed) {
    std::mt19937 random(seed);
    std::vector<unsigned short> result(n);
    for (auto& x : result) x = bf16_of(std::uniform_real_distribution<float>(-1, 1)(random));
    return result;
}

float float_of(unsigned short bits) { return std::bit_cast<float>(std::uint32_t{bits} << 16); }

TEST_CASE_TEMPLATE("shuffles, of any width", T, float, int, unsigned, double, unsigned long long) {
    for (int width : {32, 16, 8, 4}) {
        auto run = [&] {
            buffer<T> out(64 * 4);
            launch(shuffles<T>, 1, 64, 0, nullptr, out.data(), width);
            return out.values();
        };
        auto seen = run();
        bool right = true;
        for (int t = 0; t < 64; ++t) {
            int lane = t % 32, first = lane / width * width, warp = t / 32 * 32;
            auto value = [&](int of) { return static_cast<T>(static_cast<T>(warp + of + 1) * static_cast<T>(1.5)); };
            auto* mine = seen.data() + t * 4;
            right &= mine[0] == value(first + 5 % width);
            right &= mine[1] == value(lane - 3 >= first ? lane - 3 : lane);
            right &= mine[2] == value(lane + 3 < first + width ? lane + 3 : lane);
            right &= mine[3] == value((lane ^ 9) < first + width ? lane ^ 9 : lane);
        }
        CHECK(right);
        CHECK(difference_between_orders(run) == "");
    }
}

TEST_CASE("shuffles: a reduction") {
    std::vector<float> in(3 * 512);
    for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<float>(i % 97);
    auto run = [&] {
        buffer<float> from(in), to(3);
        launch(sum_by_shuffles, 3, 512, 16 * sizeof(float), nullptr, from.data(), to.data());
        return to.values();
    };
    std::vector<float> expected(3);
    for (std::size_t i = 0; i < in.size(); ++i) expected[i / 512] += in[i];
    CHECK(run() == expected);
    CHECK(difference_between_orders(run) == "");
}

TEST_CASE("votes, of whole warps and of parts of them") {
    auto run = [] {
        buffer<unsigned> out(10);
        launch(votes, 1, 64, 0, nullptr, out.data());
        return out.values();
    };
    CHECK(run() == std::vector<unsigned>{0xaaaaaaaau, 0, 0, 7, 0xc0000000u, 0xaaaaaaaau, 1, 1, 7, 0xc0000000u});
    CHECK(difference_between_orders(run) == "");
    buffer<unsigned> out(40);
    launch(active, 1, 40, 0, nullptr, out.data());
    CHECK((out.values()[3] & 0xfu) == 0xfu);
    CHECK(out.values()[39] == 0xffu);
}

TEST_CASE("products of fragments against a plain product") {
    auto a = random_bf16(256, 1), b = random_bf16(256, 2);
    std::vector<float> c(256);
    for (std::size_t i = 0; i < c.size(); ++i) c[i] = static_cast<float>(i) / 16;
    auto run = [&] {
        buffer<unsigned short> left(a), right(b);
        buffer<float> from(c), to(256);
        launch(product, 1, 32, 1024, nullptr, left.data(), right.data(), from.data(), to.data());
        return to.values();
    };
    auto seen = run();
    double worst = 0;
    for (std::size_t row = 0; row < 16; ++row) {
        for (std::size_t column = 0; column < 16; ++column) {
            double sum = c[row * 16 + column];
            for (std::size_t k = 0; k < 16; ++k) sum += double{float_of(a[row * 16 + k])} * double{float_of(b[k * 16 + column])};
            worst = std::max(worst, std::abs(sum - double{seen[row * 16 + column]}));
        }
    }
    CHECK(worst < 1e-5);
    CHECK(difference_between_orders(run) == "");

    auto narrow = random_bf16(128, 3);
    buffer<unsigned short> left(a), right(narrow);
    buffer<float> to(128);
    launch(product_by_layout, 1, 32, 0, nullptr, left.data(), right.data(), to.data());
    auto by_layout = to.values();
    worst = 0;
    for (std::size_t row = 0; row < 16; ++row) {
        for (std::size_t column = 0; column < 8; ++column) {
            double sum = 0;
            for (std::size_t k = 0; k < 16; ++k) sum += double{float_of(a[row * 16 + k])} * double{float_of(narrow[k * 8 + column])};
            worst = std::max(worst, std::abs(sum - double{by_layout[row * 8 + column]}));
        }
    }
    CHECK(worst < 1e-5);
}

TEST_CASE("fragments of four matrices, as they are and transposed") {
    buffer<unsigned> out(128), transposed(128);
    launch(fragments, 1, 32, 512, nullptr, out.data(), transposed.data());
    auto plain = out.values(), across = transposed.values();
    bool right = true;
    for (unsigned lane = 0; lane < 32; ++lane) {
        for (unsigned i = 0; i < 4; ++i) {
            unsigned row = lane / 4, column = lane % 4 * 2;
            auto element = [&](unsigned r, unsigned c) { return i * 64 + r * 8 + c; };
            right &= plain[lane * 4 + i] == (element(row, column) | element(row, column + 1) << 16);
            right &= across[lane * 4 + i] == (element(column, row) | element(column + 1, row) << 16);
        }
    }
    CHECK(right);
}

TEST_CASE("asynchronous copies arrive when they are waited for") {
    std::vector<float> in(all_pieces * piece_width), expected;
    for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<float>(i);
    for (float x : in) expected.push_back(x + 1);
    auto run = [&](auto kernel, unsigned n = all_pieces) {
        buffer<float> from(in), to(in.size());
        launch(kernel, 1, 64, 2 * piece_width * sizeof(float), nullptr, from.data(), to.data(), n);
        return to.values();
    };
    CHECK(run(pipeline<1>) == expected);
    CHECK(run(pipeline<0>) == expected);
    CHECK(difference_between_orders([&] { return run(pipeline<1>); }) == "");
    // A kernel that does not wait long enough reads NaN, and is reported as soon as it uses a buffer again.
    emulation::scoped_order scope(emulation::order{});
    auto too_early = run(pipeline<2>, 2);
    CHECK(std::all_of(too_early.begin(), too_early.end(), [](float x) { return std::isnan(x); }));
    CHECK(contains(fault_of([&] { run(pipeline<2>); }), "to where an earlier copy has not been waited for"));

    buffer<float> from(in), to(16);
    launch(zeros, 1, 4, 64, nullptr, from.data() + 4, to.data());
    CHECK(to.values() == std::vector<float>{4, 5, 6, 7, 0, 0, 0, 0, 4, 5, 6, 7, 0, 0, 0, 0});
}

TEST_CASE("warp operations that not all lanes reach, or that make no sense, are reported") {
    buffer<float> out(64);
    emulation::scoped_order ascending(emulation::order{});
    auto fault = [&](auto kernel, unsigned threads) { return fault_of([&] { launch(kernel, 1, threads, 64, nullptr, out.data()); }); };
    for (emulation::order o : emulation::orders) {
        emulation::scoped_order scope(o);
        std::string text = fault(lane_missing, 64);
        INFO(text);
        CHECK(contains(text, "lane_missing"));
        CHECK(contains(text, "lanes missing: 0x00000020 of mask 0xffffffff never arrive at __shfl_sync"));
        CHECK((contains(text, "thread (5, 0, 0) has returned") || contains(text, "thread (37, 0, 0) has returned")));
        CHECK(contains(fault(lane_at_barrier, 32), "thread (6, 0, 0) is at __syncthreads"));
    }
    CHECK(contains(fault(shuffle_in_small_block, 16), "lanes missing: 0xffff0000 of mask 0xffffffff"));
    CHECK(contains(fault(reads_lane_not_in_mask, 32), "reads lane 20, which is not in the mask 0x0000ffff"));
    CHECK(contains(fault(not_in_own_mask, 32), "thread (4, 0, 0) is not in the mask 0x0000000f of its own __syncwarp"));
    CHECK(contains(fault(different_operations, 32), "meet in different operations"));
    CHECK(contains(fault(odd_width, 32), "the width 12 of __shfl_xor_sync"));
}

TEST_CASE("copies and fragments that are used wrongly are reported") {
    emulation::scoped_order ascending(emulation::order{});
    buffer<float> in(std::vector<float>(64, 1.0f)), out(64);
    CHECK(contains(fault_of([&] { launch(never_waits, 1, 1, 16, nullptr, in.data(), out.data()); }), "returned without waiting for cp_async_16"));
    CHECK(std::isnan(out.values()[0]));
    CHECK(contains(fault_of([&] { launch(writes_the_source, 1, 1, 16, nullptr, in.data(), out.data()); }), "was written before the copy"));
    auto copy = [&](unsigned offset, float const* from) { return fault_of([&] { launch(copies_to, 1, 1, 32, nullptr, offset, from); }); };
    CHECK(copy(16, in.data()) == "no fault");
    CHECK(contains(copy(8, in.data()), "not aligned to 16 bytes"));
    CHECK(contains(copy(32, in.data()), "outside of the block's shared memory"));
    CHECK(contains(copy(0, in.data() + 1), "the source of cp_async_16"));
    CHECK(contains(fault_of([] { launch(loads_fragment_at, 1, 32, 16, nullptr, 16u); }), "outside of the block's shared memory"));
    CHECK(contains(fault_of([] { launch(loads_fragment_at, 1, 32, 64, nullptr, 8u); }), "not aligned to 16 bytes"));
}

}  // namespace
