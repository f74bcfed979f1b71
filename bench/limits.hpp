// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <map>
#include <thread>
#include <type_traits>
#include <vector>

#include <goldfinch/backend/simd.hpp>

// What this machine can do at best, measured in the same process as the benchmark that refers to it.

namespace limits {

namespace gf = goldfinch;

/// The shortest of `repeats` wall times of f(thread) on all threads of a pool, which start together, in seconds.
template <class F>
double seconds(gf::thread_pool& pool, int repeats, F const& f) {
    using clock = std::chrono::steady_clock;
    std::size_t const threads = pool.size();
    // Waiting threads give up their cores only where there are too few: two that hand one core to each other can stay on it for long.
    bool const crowded = threads > std::thread::hardware_concurrency();
    double best = 1e30;
    for (int i = 0; i < repeats; ++i) {
        std::atomic<std::size_t> here{0};
        clock::time_point start{};
        // Each index waits for all others, so every worker gets one, and the clock starts when the last one is there.
        pool.run(threads, [&](std::size_t index, std::size_t) {
            if (here.fetch_add(1) + 1 == threads) {
                start = clock::now();
                here.fetch_add(1);
            }
            while (here.load() <= threads)
                if (crowded) std::this_thread::yield();
            f(index);
        });
        best = std::min(best, std::chrono::duration<double>(clock::now() - start).count());
    }
    return best;
}

/// The same on n threads of its own.
template <class F>
double seconds(std::size_t threads, int repeats, F const& f) {
    gf::thread_pool pool(threads);
    return seconds(pool, repeats, f);
}

/// Sums n floats, which so many places of the memory are read at in turn: in order where it is one.
template <std::size_t streams = 1>
float read_all(float const* p, std::size_t n) {
    namespace k = gf::kernel;
    constexpr std::size_t vecs = 8 / streams, step = vecs * k::lanes;  // at a time from each
    std::size_t const part = n / streams;
    k::vec sums[streams][vecs];
    GOLDFINCH_UNROLL
    for (auto& of_stream : sums) {
        GOLDFINCH_UNROLL
        for (k::vec& sum : of_stream) sum = k::broadcast(0);
    }
    for (std::size_t i = 0; i + step <= part; i += step) {
        GOLDFINCH_UNROLL
        for (std::size_t s = 0; s < streams; ++s) {
            GOLDFINCH_UNROLL
            for (std::size_t j = 0; j < vecs; ++j) sums[s][j] = sums[s][j] + k::load(p + s * part + i + j * k::lanes);
        }
    }
    float total = 0;
    GOLDFINCH_UNROLL
    for (auto const& of_stream : sums) {
        GOLDFINCH_UNROLL
        for (k::vec const& sum : of_stream) total += k::sum(sum);
    }
    return total;
}

/// Reads of 512 MB on huge pages, far more than any cache here: in order, or at 2, 4 or 8 places at once by each thread, since which of them is the
/// fastest differs from one machine to another.
class reads {
public:
    /// Pieces of 8 MB for each thread, or less where there are so many threads that few pieces would be left.
    explicit reads(std::size_t threads) : threads_(threads), piece_(std::min(std::size_t{2} << 20, memory().size() / (4 * threads) / 4096 * 4096)) {}

    std::size_t pieces() const { return memory().size() / (threads_ * piece_); }
    /// f(bytes a second) for each of some pieces, read by a pool of as many threads, with one number of places.
    template <std::size_t streams, class F>
    void each(gf::thread_pool& pool, std::size_t first, std::size_t count, F const& f) const {
        static std::atomic<float> sink;
        std::size_t const size = threads_ * piece_;
        for (std::size_t i = first; i < first + count; ++i) {
            float const* const from = memory().data() + i % pieces() * size;
            f(static_cast<double>(size * sizeof(float)) /
              seconds(pool, 1, [&](std::size_t worker) { sink = read_all<streams>(from + worker * piece_, piece_); }));
        }
    }

private:
    static gf::aligned_vector<float> const& memory() {
        static gf::aligned_vector<float> const all(std::size_t{128} << 20, 1.0f);  // which asks for huge pages
        return all;
    }
    std::size_t threads_, piece_;
};

/// Memory read bandwidth, bytes a second: the best of short pieces, as is the peak below, so that other programs at work do not lower the limit.
inline double read_bandwidth(std::size_t threads) {
    static std::map<std::size_t, double> known;
    double& result = known[threads];
    if (result == 0) {
        reads const some(threads);
        auto const read = [&]<std::size_t streams>(std::integral_constant<std::size_t, streams>) {
            gf::thread_pool pool(threads);  // anew each time: where other programs are at work, its threads may stay on one core
            some.each<streams>(pool, 0, some.pieces(), [&](double rate) { result = std::max(result, rate); });
        };
        for (int round = 0; round < 3; ++round) {
            read(std::integral_constant<std::size_t, 1>{});
            read(std::integral_constant<std::size_t, 2>{});
            read(std::integral_constant<std::size_t, 4>{});
            read(std::integral_constant<std::size_t, 8>{});
        }
    }
    return result;
}

/// The rate of reads at this moment, bytes a second: the mean over 256 MB, read in the order that is the fastest. Where other programs take part of
/// the bandwidth, this is what is left for one that reads for a while.
inline double read_rate_now(std::size_t threads) {
    reads const some(threads);
    gf::thread_pool pool(threads);
    double best = 0;
    std::size_t const half = std::max<std::size_t>(1, some.pieces() / 2);
    auto const read = [&]<std::size_t streams>(std::integral_constant<std::size_t, streams>, std::size_t first) {
        double time = 0;  // of one byte of each piece
        some.each<streams>(pool, first, half, [&](double rate) { time += 1 / rate; });
        best = std::max(best, static_cast<double>(half) / time);
    };
    read(std::integral_constant<std::size_t, 1>{}, 0);
    read(std::integral_constant<std::size_t, 4>{}, half);
    read(std::integral_constant<std::size_t, 8>{}, 0);
    return best;
}

/// Peak rate of float32 multiply-add, FLOP a second (a multiply-add counts 2), from registers alone.
inline double fma_peak(std::size_t threads) {
    static std::map<std::size_t, double> known;
    if (double& result = known[threads]; result == 0) {
        namespace k = gf::kernel;
        constexpr std::size_t chains = 12, rounds = 50'000;
        static std::atomic<float> sink;
        auto const multiply_add = [&](std::size_t) {
            k::vec const a = k::broadcast(0.999f), b = k::broadcast(0.5f);
            k::vec x[chains];
            GOLDFINCH_UNROLL
            for (std::size_t j = 0; j < chains; ++j) x[j] = k::broadcast(static_cast<float>(j));
            for (std::size_t i = 0; i < rounds; ++i) {
                GOLDFINCH_UNROLL
                for (std::size_t j = 0; j < chains; ++j) x[j] = xsimd::fma(x[j], a, b);
            }
            float total = 0;
            GOLDFINCH_UNROLL
            for (k::vec const& sum : x) total += k::sum(sum);
            sink = total;
        };
        double s = 1e30;
        for (int round = 0; round < 10; ++round) s = std::min(s, seconds(threads, 20, multiply_add));
        result = static_cast<double>(threads * chains * rounds * k::lanes * 2) / s;
    }
    return known[threads];
}

#if GOLDFINCH_AVX512_BF16
/// Peak rate of AVX-512's dot products of bf16, FLOP a second, from registers alone.
inline double dots_peak(std::size_t threads) {
    static std::map<std::size_t, double> known;
    if (double& result = known[threads]; result == 0) {
        using dots = gf::kernel::hardware_dots;
        constexpr std::size_t chains = 12, rounds = 50'000;
        static std::atomic<float> sink;
        auto const multiply = [&](std::size_t) {
            alignas(64) gf::bf16 ones[32];
            for (gf::bf16& one : ones) one = gf::bf16(1.0f);
            alignas(64) float totals[16] = {};
            dots::pairs const a = dots::load_pairs(ones);
            dots::sums x[chains];
            for (dots::sums& sum : x) {  // each begins with another number, or the compiler would compute one for all
                totals[0] += 1;
                sum = dots::load_sums(totals);
            }
            for (std::size_t i = 0; i < rounds; ++i) {
                GOLDFINCH_UNROLL
                for (std::size_t j = 0; j < chains; ++j) dots::add(x[j], a, a);
            }
            float total = 0;
            for (dots::sums const& sum : x) {
                dots::store_sums(totals, sum);
                total += totals[0];
            }
            sink = total;
        };
        double s = 1e30;
        for (int round = 0; round < 10; ++round) s = std::min(s, seconds(threads, 20, multiply));
        result = static_cast<double>(threads * chains * rounds * 16 * 4) / s;
    }
    return known[threads];
}
#endif

#if GOLDFINCH_AMX
/// Rate of products of bf16 in tiles, FLOP a second: 2 x 2 tiles of sums, for which four tiles are loaded from L2 each time.
inline double amx_rate(std::size_t threads) {
    static std::map<std::size_t, double> known;
    if (double& result = known[threads]; result == 0) {
        namespace k = gf::kernel;
        gf::detail::require_instruction_set();
        constexpr std::size_t tile = k::amx_rows * k::amx_bytes, steps = 192, rounds = 20;  // 768 KiB: more than L1, and in L2 for sure
        gf::aligned_vector<std::byte> const memory(threads * steps * 4 * tile);
        static std::atomic<float> sink;
        auto const multiply = [&](std::size_t thread) {
            alignas(k::amx_bytes) float sums[2][2][16 * 16];
            k::hardware_tiles tiles;
            tiles.zero(k::amx_tile<0>{}), tiles.zero(k::amx_tile<1>{}), tiles.zero(k::amx_tile<2>{}), tiles.zero(k::amx_tile<3>{});
            for (std::size_t round = 0; round < rounds; ++round) {
                std::byte const* p = memory.data() + thread * steps * 4 * tile;
                for (std::size_t i = 0; i < steps; ++i, p += 4 * tile) {
                    tiles.load(k::amx_tile<4>{}, p, k::amx_bytes);
                    tiles.load(k::amx_tile<6>{}, p + tile, k::amx_bytes);
                    tiles.add_bf16(k::amx_tile<0>{}, k::amx_tile<4>{}, k::amx_tile<6>{});
                    tiles.load(k::amx_tile<7>{}, p + 2 * tile, k::amx_bytes);
                    tiles.add_bf16(k::amx_tile<1>{}, k::amx_tile<4>{}, k::amx_tile<7>{});
                    tiles.load(k::amx_tile<5>{}, p + 3 * tile, k::amx_bytes);
                    tiles.add_bf16(k::amx_tile<2>{}, k::amx_tile<5>{}, k::amx_tile<6>{});
                    tiles.add_bf16(k::amx_tile<3>{}, k::amx_tile<5>{}, k::amx_tile<7>{});
                }
            }
            tiles.store(k::amx_tile<0>{}, sums[0][0], k::amx_bytes), tiles.store(k::amx_tile<1>{}, sums[0][1], k::amx_bytes);
            tiles.store(k::amx_tile<2>{}, sums[1][0], k::amx_bytes), tiles.store(k::amx_tile<3>{}, sums[1][1], k::amx_bytes);
            sink = sums[0][0][0] + sums[0][1][0] + sums[1][0][0] + sums[1][1][0];
        };
        double s = 1e30;
        for (int round = 0; round < 10; ++round) s = std::min(s, seconds(threads, 20, multiply));
        result = static_cast<double>(threads * rounds * steps * 4 * 2 * 16 * 16 * 32) / s;
    }
    return known[threads];
}
#endif

}  // namespace limits
