// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <goldfinch/backend/cpu/executor.hpp>

namespace goldfinch {

/// A few threads that share one loop at a time. The caller is worker 0 and takes part; the others spin briefly between loops,
/// then sleep. A worker that is late costs nothing: the caller waits for the work, not for the workers.
class thread_pool {
public:
    /// As many threads as asked for, or as the system has left.
    explicit thread_pool(std::size_t threads) {
        try {
            for (std::size_t i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
        } catch (std::exception const&) {  // no thread or no memory for it
        }
    }
    thread_pool(thread_pool const&) = delete;
    thread_pool& operator=(thread_pool const&) = delete;
    ~thread_pool() {
        stop_ = true;
        epoch_.fetch_add(1);
        epoch_.notify_all();
        for (auto& w : workers_) w.join();
    }

    /// Workers, the caller among them.
    std::size_t size() const { return workers_.size() + 1; }

    /// Calls f(index, worker) for every index below count (at most 2^32 - 1), each once, in any order. One loop at a time: the
    /// caller holds the pool. The first exception of an f is thrown again here, after all have ended.
    template <class F>
    void run(std::size_t count, F const& f) {
        run(count, &f, [](void const* body, std::size_t index, std::size_t worker) { (*static_cast<F const*>(body))(index, worker); });
    }

    /// The same for a body whose type is gone.
    void run(std::size_t count, void const* body, void (*call)(void const* body, std::size_t index, std::size_t worker)) {
        if (count == 0) return;
        call_ = call;
        body_ = body;
        failure_ = nullptr;
        done_.store(0, std::memory_order_relaxed);
        open_.store(std::uint64_t{count} << 32);
        epoch_.fetch_add(1);
        if (sleepers_.load() > 0) epoch_.notify_all();
        while (take(0)) {
        }
        while (done_.load(std::memory_order_acquire) < count) pause();
        if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
    }

private:
    static constexpr int spins = 2000;

    static void pause() {
#if defined(__SSE2__)
        __builtin_ia32_pause();
#else
        std::this_thread::yield();
#endif
    }

    // count << 32 | next index. Whoever moves the index owns it, and the loop cannot end, nor the body change, before it is done.
    bool take(std::size_t worker) {
        std::uint64_t open = open_.load();
        do {
            if ((open & 0xffffffffu) >= (open >> 32)) return false;
        } while (!open_.compare_exchange_weak(open, open + 1));
        try {
            call_(body_, static_cast<std::size_t>(open & 0xffffffffu), worker);
        } catch (...) {
            std::lock_guard const lock(failure_mutex_);
            if (!failure_) failure_ = std::current_exception();
        }
        done_.fetch_add(1, std::memory_order_release);
        return true;
    }

    void work(std::size_t worker) {
        while (!stop_) {
            for (int i = 0; i < spins; ++i) {
                if (take(worker)) i = 0;
                pause();
            }
            sleepers_.fetch_add(1);
            auto const epoch = epoch_.load();
            if (!take(worker) && !stop_) epoch_.wait(epoch);
            sleepers_.fetch_sub(1);
        }
    }

    alignas(alignment) std::atomic<std::uint64_t> open_{0};
    alignas(alignment) std::atomic<std::uint64_t> done_{0};
    alignas(alignment) std::atomic<std::uint32_t> epoch_{0};
    std::atomic<std::uint32_t> sleepers_{0};
    std::atomic<bool> stop_{false};
    void (*call_)(void const*, std::size_t, std::size_t) = nullptr;
    void const* body_ = nullptr;
    std::mutex failure_mutex_;
    std::exception_ptr failure_;
    std::vector<std::thread> workers_;
};

}  // namespace goldfinch
