// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include <goldfinch/backend/cpu/executor.hpp>
#include <goldfinch/backend/cpu/scratch.hpp>
#include <goldfinch/backend/cpu/thread_pool.hpp>
#include <goldfinch/error.hpp>
#include <goldfinch/message.hpp>

namespace goldfinch {

namespace detail {

/// How code reaches the pool and the scratch memory of its executor.
inline constexpr cpu_executor::functions cpu_functions{
    [](cpu_executor const& at, std::size_t count, void const* body, cpu_executor::body_function call) {
        if (at.pool == nullptr || count < 2) {
            for (std::size_t i = 0; i < count; ++i) call(body, at.alone(), i);
        } else {
            at.pool->run(count, [&](std::size_t i, std::size_t worker) { call(body, {at.call, nullptr, at.memory, worker, 1, at.batch_invariant, at.rounds_few}, i); });
        }
    },
    [](cpu_executor const& at, std::size_t bytes) { return at.memory[at.worker].take(bytes); },
    [](cpu_executor const& at) { return at.memory[at.worker].top(); },
    [](cpu_executor const& at, cpu_executor::mark m) noexcept { at.memory[at.worker].release(m); }};

}  // namespace detail

/// Calls f(backend, index) for every index below count, on the pool if this backend holds one. The backend that f gets works
/// alone and has temporaries of its own. Results must not depend on who does what.
template <class Backend, class F>
void parallel(Backend const& be, std::size_t count, F const& f) {
    be.call->share(be, count, &f,
                   [](void const* body, cpu_executor const& at, std::size_t i) { (*static_cast<F const*>(body))(Backend(at), i); });
}

/// Threads and scratch memory of a model, shared by all who use it.
class cpu_runtime {
    /// The scratch memory of some workers; what is not in use is a list.
    struct memories {
        std::size_t size;
        std::unique_ptr<scratch[]> each;
        std::unique_ptr<memories> next;
    };

public:
    static constexpr std::size_t most_threads = 256;

    /// 0 threads: all cores. Throws config_error for more than 256.
    explicit cpu_runtime(std::size_t threads = 0) { this->threads(threads); }

    /// Sets how many, as the constructor does; it may be fewer where the system has no more. Waits for the work that has the pool to end.
    void threads(std::size_t n) {
        if (n > most_threads) throw config_error(detail::message({"goldfinch: threads must be at most ", most_threads, ", found ", n}));
        if (n == 0) n = std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1, most_threads);
        std::lock_guard const lock(pool_mutex_);
        pool_.reset();
        threads_ = 1;
        pool_ = n > 1 ? std::make_unique<thread_pool>(n) : nullptr;
        threads_ = pool_ ? pool_->size() : 1;
    }
    /// How many there are.
    std::size_t threads() const { return threads_; }

    /// The right to work: scratch memory, and the pool unless another lease holds it. A thread holds one at a time.
    class lease {
    public:
        explicit lease(cpu_runtime& runtime) : runtime_(runtime), pool_lock_(runtime.pool_mutex_, std::try_to_lock) {
            thread_pool* const pool = pool_lock_ ? runtime.pool_.get() : nullptr;
            std::size_t const workers = pool ? pool->size() : 1;
            memories_ = runtime.idle_memories(workers);
            executor_ = {&detail::cpu_functions, pool, memories_->each.get(), 0, workers};
        }
        lease(lease const&) = delete;
        lease& operator=(lease const&) = delete;
        ~lease() {
            std::lock_guard const lock(runtime_.memories_mutex_);
            memories_->next = std::move(runtime_.idle_);
            runtime_.idle_ = std::move(memories_);
        }
        cpu_executor const& executor() const { return executor_; }

    private:
        cpu_runtime& runtime_;
        std::unique_lock<std::mutex> pool_lock_;
        std::unique_ptr<memories> memories_;
        cpu_executor executor_;
    };

    /// Calls f(index) for every index below count, on all threads: work of the host, such as converting weights.
    template <class F>
    void each(std::size_t count, F const& f) {
        lease const work(*this);
        parallel(work.executor(), count, [&](cpu_executor const&, std::size_t i) { f(i); });
    }

private:
    std::unique_ptr<memories> idle_memories(std::size_t n) {
        std::unique_ptr<memories> result;
        std::lock_guard const lock(memories_mutex_);
        if (idle_ != nullptr) {
            result = std::move(idle_);
            idle_ = std::move(result->next);
        }
        if (result == nullptr || result->size < n) result.reset(new memories{n, std::unique_ptr<scratch[]>(new scratch[n]), nullptr});
        return result;
    }

    std::mutex pool_mutex_, memories_mutex_;
    std::atomic<std::size_t> threads_{1};
    std::unique_ptr<thread_pool> pool_;
    std::unique_ptr<memories> idle_;  // those not lent
};

}  // namespace goldfinch
