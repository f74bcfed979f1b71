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

/// A few threads that share one loop at a time. The caller is worker 0 and takes part; the others spin briefly between loops, then sleep. Each
/// has a run of consecutive indices, so that it reads memory in order; who has none left takes the last of another's. A worker that is late costs
/// nothing: the caller waits for the work, not for the workers.
class thread_pool {
public:
    /// As many threads as asked for, or as the system has left.
    explicit thread_pool(std::size_t threads) : runs_(threads) {
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
        for (std::size_t i = 0; i < size(); ++i) runs_[i].left.store(std::uint64_t{count * (i + 1) / size()} << 32 | count * i / size());
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

    /// A worker's indices that nobody has taken: end << 32 | next. Whoever moves either owns the index, and the loop cannot end, nor the body
    /// change, before it is done.
    struct alignas(alignment) run_of_indices {
        std::atomic<std::uint64_t> left{0};
    };

    /// Does one index: the next of the worker's own, or the last of another's. Returns whether there was one.
    bool take(std::size_t worker) {
        for (std::size_t i = 0, of = worker; i < size(); ++i, of = of + 1 < size() ? of + 1 : 0) {
            std::uint64_t left = runs_[of].left.load();
            while ((left & 0xffffffffu) < left >> 32) {
                bool const own = i == 0;
                if (!runs_[of].left.compare_exchange_weak(left, own ? left + 1 : left - (std::uint64_t{1} << 32))) continue;
                call_once(static_cast<std::size_t>(own ? left & 0xffffffffu : (left >> 32) - 1), worker);
                return true;
            }
        }
        return false;
    }
    void call_once(std::size_t index, std::size_t worker) {
        try {
            call_(body_, index, worker);
        } catch (...) {
            std::lock_guard const lock(failure_mutex_);
            if (!failure_) failure_ = std::current_exception();
        }
        done_.fetch_add(1, std::memory_order_release);
    }

    void work(std::size_t worker) {
        for (std::uint32_t seen = 0; !stop_;) {
            for (int i = 0; i < spins && epoch_.load(std::memory_order_acquire) == seen; ++i) pause();
            if (epoch_.load() == seen) {
                sleepers_.fetch_add(1);
                epoch_.wait(seen);
                sleepers_.fetch_sub(1);
            }
            seen = epoch_.load();
            while (take(worker)) {
            }
        }
    }

    alignas(alignment) std::atomic<std::uint64_t> done_{0};
    alignas(alignment) std::atomic<std::uint32_t> epoch_{0};
    std::atomic<std::uint32_t> sleepers_{0};
    std::atomic<bool> stop_{false};
    void (*call_)(void const*, std::size_t, std::size_t) = nullptr;
    void const* body_ = nullptr;
    std::mutex failure_mutex_;
    std::exception_ptr failure_;
    std::vector<run_of_indices> runs_;  // one a worker
    std::vector<std::thread> workers_;
};

}  // namespace goldfinch
