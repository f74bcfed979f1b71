// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <goldfinch/backend/cpu/executor.hpp>
#include <goldfinch/backend/cpu/intrinsics.hpp>
#include <goldfinch/message.hpp>
#include <goldfinch/view.hpp>

#if defined(__linux__)
#include <sys/mman.h>
#endif
// What the CPU backends share: memory, threads and temporaries. Operations are in reference.hpp and simd.hpp.

namespace goldfinch {

namespace detail {

/// Blocks of weights start on a huge page and ask for huge pages: reading through small ones costs a fifth of the bandwidth, or
/// more, as luck has it.
inline constexpr std::size_t huge_page = std::size_t{2} << 20;

inline std::align_val_t alignment_of(std::size_t bytes) { return std::align_val_t{bytes >= 2 * huge_page ? huge_page : alignment}; }

inline void* allocate(std::size_t bytes) {
    void* const p = ::operator new(bytes, alignment_of(bytes));
#if defined(__linux__)
    if (bytes >= 2 * huge_page) ::madvise(p, bytes / huge_page * huge_page, MADV_HUGEPAGE);  // a wish: where it fails, pages are small
#endif
    return p;
}

inline void deallocate(void* p, std::size_t bytes) noexcept { ::operator delete(p, alignment_of(bytes)); }

}  // namespace detail

/// A std::allocator for `alignment`.
template <class T>
struct aligned_allocator {
    using value_type = T;
    aligned_allocator() = default;
    template <class U>
    constexpr aligned_allocator(aligned_allocator<U> const&) {}
    T* allocate(std::size_t n) {
        if (n > std::size_t(-1) / sizeof(T)) throw std::bad_array_new_length();
        return static_cast<T*>(detail::allocate(n * sizeof(T)));
    }
    void deallocate(T* p, std::size_t n) noexcept { detail::deallocate(p, n * sizeof(T)); }
    friend bool operator==(aligned_allocator const&, aligned_allocator const&) { return true; }
};

/// Owned, copyable, 64-byte aligned memory.
template <class T>
using aligned_vector = std::vector<T, aligned_allocator<T>>;

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
        _mm_pause();
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

/// Temporaries of one thread at work: a stack of memory that is kept, so that steady work allocates nothing.
class scratch {
    struct alignas(alignment) block {
        block* next;
        std::size_t size;  // bytes behind this
    };

public:
    using mark = cpu_executor::mark;

    scratch() = default;
    scratch(scratch const&) = delete;
    scratch& operator=(scratch const&) = delete;
    ~scratch() { clear(); }

    template <class T>
    T* take(std::size_t n) {
        static_assert(std::is_trivially_copyable_v<T>);
        return static_cast<T*>(take(n * sizeof(T)));
    }
    void* take(std::size_t bytes) { return take_bytes((bytes + alignment - 1) / alignment * alignment); }
    mark top() const { return {at_, used_}; }
    GOLDFINCH_NOINLINE void release(mark m) {
        at_ = static_cast<block*>(m.block);
        used_ = m.used;
        if (at_ == nullptr && first_ != nullptr && first_->next != nullptr) least_ = clear();  // next time it all fits in one block
    }

private:
    GOLDFINCH_NOINLINE void* take_bytes(std::size_t bytes) {
        if (at_ == nullptr || used_ + bytes > at_->size) find_block(bytes);
        void* const p = reinterpret_cast<std::byte*>(at_ + 1) + used_;
        used_ += bytes;
        return p;
    }

    /// Goes on to a block that has room.
    GOLDFINCH_COLD void find_block(std::size_t bytes) {
        do {
            block*& next = at_ != nullptr ? at_->next : first_;
            if (next == nullptr) {
                std::size_t const size = std::max(bytes, at_ != nullptr ? 2 * at_->size : least_);
                next = new (detail::allocate(sizeof(block) + size)) block{nullptr, size};
            }
            at_ = next;
            used_ = 0;
        } while (bytes > at_->size);
    }

    /// Frees all blocks. Returns their size.
    GOLDFINCH_COLD std::size_t clear() {
        std::size_t total = 0;
        while (first_ != nullptr) {
            block* const b = std::exchange(first_, first_->next);
            total += b->size;
            detail::deallocate(b, sizeof(block) + b->size);
        }
        return total;
    }

    block *first_ = nullptr, *at_ = nullptr;  // at_: the one in use; nullptr where nothing is taken
    std::size_t used_ = 0, least_ = std::size_t{1} << 17;
};

namespace detail {

inline constexpr cpu_executor::functions executor_functions{
    .share =
        [](cpu_executor const& at, std::size_t count, void const* body, cpu_executor::body_function call) {
            if (at.pool == nullptr || count < 2) {
                for (std::size_t i = 0; i < count; ++i) call(body, at, i);
                return;
            }
            at.pool->run(count, [&](std::size_t i, std::size_t worker) { call(body, cpu_executor{at.call, nullptr, at.memory, worker, 1}, i); });
        },
    .take = [](cpu_executor const& at, std::size_t bytes) { return at.memory[at.worker].take(bytes); },
    .top = [](cpu_executor const& at) { return at.memory[at.worker].top(); },
    .release = [](cpu_executor const& at, cpu_executor::mark m) noexcept { at.memory[at.worker].release(m); },
};

}  // namespace detail

/// A scope's temporaries; they end with it.
class temporaries {
public:
    explicit temporaries(cpu_executor const& at) : arena_(at.memory[at.worker]), top_(arena_.top()) {}
    temporaries(temporaries const&) = delete;
    temporaries& operator=(temporaries const&) = delete;
    ~temporaries() { arena_.release(top_); }

    /// n uninitialised elements, 64-byte aligned.
    template <class T>
    T* array(std::size_t n) {
        return arena_.take<T>(n);
    }
    /// n uninitialised rows.
    template <class T, std::size_t Width>
    goldfinch::sequence<T, Width> sequence(std::size_t n) {
        return {array<T>(n * Width), n};
    }

private:
    scratch& arena_;
    scratch::mark top_;
};

/// Threads and temporaries of a model, shared by all who use it.
class cpu_runtime {
    /// Temporaries of several workers, in a list of such.
    struct arenas {
        std::size_t size;
        std::unique_ptr<scratch[]> each;
        std::unique_ptr<arenas> next;
    };

public:
    static constexpr std::size_t most_threads = 256;

    /// 0 threads: all cores. More than 256 are 256.
    explicit cpu_runtime(std::size_t threads = 0) { this->threads(threads); }

    /// Sets how many. Waits for the work that has the pool to end.
    void threads(std::size_t n) {
        std::lock_guard const lock(pool_mutex_);
        if (n == 0) n = std::max(1u, std::thread::hardware_concurrency());
        n = std::min(n, most_threads);
        pool_ = n > 1 ? std::make_unique<thread_pool>(n) : nullptr;
    }

    /// The right to work: a set of temporaries, and the pool unless another lease holds it.
    class lease {
    public:
        explicit lease(cpu_runtime& runtime) : runtime_(runtime), pool_lock_(runtime.pool_mutex_, std::try_to_lock) {
            thread_pool* const pool = pool_lock_ ? runtime.pool_.get() : nullptr;
            arenas_ = runtime.idle_arenas(pool ? pool->size() : 1);
            executor_ = {&detail::executor_functions, pool, arenas_->each.get(), 0, pool != nullptr ? pool->size() : 1};
        }
        lease(lease const&) = delete;
        lease& operator=(lease const&) = delete;
        ~lease() {
            std::lock_guard const lock(runtime_.arenas_mutex_);
            arenas_->next = std::move(runtime_.idle_);
            runtime_.idle_ = std::move(arenas_);
        }
        cpu_executor const& executor() const { return executor_; }

    private:
        cpu_runtime& runtime_;
        std::unique_lock<std::mutex> pool_lock_;
        std::unique_ptr<arenas> arenas_;
        cpu_executor executor_;
    };

private:
    std::unique_ptr<arenas> idle_arenas(std::size_t n) {
        std::unique_ptr<arenas> result;
        std::lock_guard const lock(arenas_mutex_);
        if (idle_ != nullptr) {
            result = std::move(idle_);
            idle_ = std::move(result->next);
        }
        if (result == nullptr || result->size < n) result.reset(new arenas{n, std::unique_ptr<scratch[]>(new scratch[n]), nullptr});
        return result;
    }

    std::mutex pool_mutex_, arenas_mutex_;
    std::unique_ptr<thread_pool> pool_;
    std::unique_ptr<arenas> idle_;  // those not lent
};

/// Calls f(backend, index) for every index below count, on the pool if this backend holds one. The backend that f gets works
/// alone and has temporaries of its own. Results must not depend on who does what.
template <class Backend, class F>
void parallel(Backend const& be, std::size_t count, F const& f) {
    be.call->share(be, count, &f, [](void const* body, cpu_executor const& at, std::size_t i) { (*static_cast<F const*>(body))(Backend(at), i); });
}

}  // namespace goldfinch
