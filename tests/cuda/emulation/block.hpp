// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "fibers.hpp"
#include "names.hpp"
#include "order.hpp"
#include "thread.hpp"
#include "types.hpp"
#include "watch.hpp"

// One block at a time: which of its threads runs, where the others wait, and what is wrong when none can go on.
// A thread runs until it meets a barrier or a warp operation. A warp runs as far as it can before another one starts, so that in ascending and in
// descending order each of two warps is once a whole barrier ahead of the other.

namespace emulation::detail {

class machine {
public:
    /// Computes what every lane of the mask gets.
    using exchange = void (*)(thread* lanes, unsigned mask);

    static machine& get() {
        static machine& m = *new machine;  // never destroyed: its fibers never end
        return m;
    }

    thread& self(char const* what) {
        if (pool_.on_host()) throw fault(std::string(what) + " outside of a kernel");
        return *current_;
    }
    warp& warp_of(thread const& t) { return warps_[t.number / 32]; }
    std::byte* shared() { return shared_; }
    std::size_t shared_bytes() const { return shared_bytes_; }

    void require_host() {
        if (in_kernel_now()) fail([] { return std::string("a launch from a kernel, which is not emulated"); });
    }

    /// Each thread calls body(arguments).
    void run_grid(void const* kernel, dim3 grid, dim3 block, std::size_t shared_bytes, void (*body)(void const*), void const* arguments) {
        std::scoped_lock lock(mutex_);
        kernel_ = kernel;
        body_ = body;
        arguments_ = arguments;
        grid_size = grid;
        block_size = block;
        prepare_threads(block);
        void* memory = nullptr;
        if (::posix_memalign(&memory, 128, shared_bytes) != 0) throw std::bad_alloc();
        auto release = [this](std::byte* p) {
            std::free(p);
            shared_ = nullptr;
            shared_bytes_ = 0;
        };
        std::unique_ptr<std::byte, decltype(release)> owner(static_cast<std::byte*>(memory), release);
        shared_ = owner.get();
        shared_bytes_ = shared_bytes;
        for (unsigned b : arranged(volume(grid))) {
            block_index = {b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y};
            if (shared_bytes > 0) std::memset(shared_, order_now().chosen.unwritten, shared_bytes);
            run_block();
        }
    }

    /// Ends the launch: what message() says is thrown from it. The frames of the caller are never unwound: they must own nothing.
    template <class Message>
    [[noreturn]] void fail(Message const& message) {
        if (pool_.on_host()) throw fault(message());
        problem_ = in_kernel(message());
        leave();
    }

    /// Tells of an access to memory; what it does wrong to shared memory is reported, where the program is compiled for it. See memory_watch.
    void note(void const* p, std::size_t size, access_kind kind, void const* from = nullptr) {
        auto begin = static_cast<std::byte const*>(p);
        if (begin + size <= watched_begin || begin >= watched_end) return;
        auto offset = static_cast<std::size_t>(begin - watched_begin);
        thread const& t = *current_;
        warp const& w = warp_of(t);
        accessor a{static_cast<std::uint16_t>(t.number / 32), static_cast<std::uint16_t>(t.number % 32), barriers_, w.barriers};
        bool atomic = kind == access_kind::atomic;
        hazard h = hazard::none;
        if (kind == access_kind::read || atomic) h = watch_.read(offset, size, a, atomic);
        if (kind != access_kind::read && h == hazard::none) h = watch_.write(offset, size, a, atomic, kind != access_kind::copy_asked_for);
        if (h == hazard::none) return;
        fail([&] { return describe(h, offset, t, from); });
    }

    void barrier(call const& where) {
        thread& t = self(where.what);
        if (waiting_ == 0) barrier_ = where;
        if (barrier_.line != where.line || (barrier_.file != where.file && std::strcmp(barrier_.file, where.file) != 0)) {
            fail([&] {
                return "divergent barrier: thread " + to_string(t.index) + " is at " + to_string(where) + " while others wait at " +
                       to_string(barrier_);
            });
        }
        t.now = condition::at_barrier;
        t.where = where;
        warp_of(t).ready &= ~lane_bit(t);
        if (++waiting_ == threads_.size()) {
            waiting_ = 0;
            for (thread& other : threads_) other.now = condition::ready;
            for (warp& w : warps_) w.ready = w.exists;
            ++barriers_;
            turn();
        }
        wait(t);
    }

    /// The accesses of the warp's lanes so far are in order with those to come.
    void note_warp_barrier(warp& w) { ++w.barriers; }

    /// The calling lane waits until every lane of the mask is here, too.
    void meet(thread& t, call const& where, unsigned mask, exchange compute) {
        warp& w = warp_of(t);
        if ((mask & lane_bit(t)) == 0)
            fail([&] { return "thread " + to_string(t.index) + " is not in the mask " + hex(mask) + " of its own " + to_string(where); });
        meeting* m = nullptr;
        for (meeting& other : w.meetings) {
            if (other.mask == mask) m = &other;
        }
        if (!m) m = &w.meetings.emplace_back(meeting{where, mask, 0});
        if (m->where.what != where.what && std::strcmp(m->where.what, where.what) != 0) {
            fail([&] {
                return "lanes of the mask " + hex(mask) + " meet in different operations: thread " + to_string(t.index) + " in " + to_string(where) +
                       ", others in " + to_string(m->where);
            });
        }
        m->arrived |= lane_bit(t);
        t.now = condition::in_warp_operation;
        t.where = where;
        t.mask = mask;
        w.ready &= ~lane_bit(t);
        if (m->arrived == mask) {
            if (compute) compute(w.lanes, mask);
            if (memory_watch::shuffles_order()) note_warp_barrier(w);
            for (unsigned rest = mask; rest != 0; rest &= rest - 1) w.lanes[std::countr_zero(rest)].now = condition::ready;
            w.ready |= mask;
            w.meetings.erase(w.meetings.begin() + (m - w.meetings.data()));
            turn();
        }
        wait(t);
    }

    static unsigned lane_bit(thread const& t) { return 1u << t.number % 32; }

    static std::string hex(unsigned mask) {
        std::string result = "0x";
        for (int shift = 28; shift >= 0; shift -= 4) result += "0123456789abcdef"[mask >> shift & 15];
        return result;
    }

private:
    machine() : pool_(&machine::work) {}

    void prepare_threads(dim3 block) {
        std::size_t n = volume(block);
        threads_.resize(n);
        warps_.resize((n + 31) / 32);
        for (unsigned i = 0; i < n; ++i) {
            threads_[i].number = i;
            threads_[i].index = {i % block.x, i / block.x % block.y, i / block.x / block.y};
        }
        for (std::size_t i = 0; i < warps_.size(); ++i) {
            warps_[i].lanes = threads_.data() + i * 32;
            warps_[i].exists = whole_warp >> (n - i * 32 < 32 ? 32 - (n - i * 32) : 0);
        }
    }

    void run_block() {
        for (thread& t : threads_) {
            t.stack = nullptr;
            t.now = condition::ready;
            t.copies.clear();
            t.copy_group = 0;
        }
        for (warp& w : warps_) {
            w.ready = w.exists;
            w.returned = 0;
            w.meetings.clear();
            w.barriers = 0;
        }
        waiting_ = 0;
        barriers_ = 0;
        watch_.start(shared_bytes_);
        watched_begin = shared_;
        watched_end = memory_watch::in_use() ? shared_ + shared_bytes_ : shared_;
        sequence_ = order_now().chosen.threads;
        warp_order_ = arranged(warps_.size());
        thread& first = *choose();
        fiber_stack& f = pool_.take();
        f.task = &first;
        in_kernel_now() = true;
        pool_.switch_to(f);
        in_kernel_now() = false;
        watched_begin = watched_end = nullptr;
        if (problem_.empty() && !thrown_) return;
        pool_.abandon();
        std::string problem = std::exchange(problem_, {});
        if (std::exception_ptr thrown = std::exchange(thrown_, nullptr)) std::rethrow_exception(thrown);
        throw fault(problem);
    }

    /// The body of a fiber: threads, one after the other.
    static void work(fiber_stack& f) {
        machine& m = get();
        for (;;) {
            thread& t = *f.task;
            m.become(t, f);
            try {
                m.body_(m.arguments_);
            } catch (...) {
                m.thrown_ = std::current_exception();
            }
            if (m.thrown_) m.leave();
            if (!t.copies.empty())
                m.fail([&] { return "thread " + to_string(t.index) + " returned without waiting for " + to_string(t.copies.front().where); });
            t.now = condition::returned;
            m.warp_of(t).ready &= ~lane_bit(t);
            m.warp_of(t).returned |= lane_bit(t);
            thread* next = m.choose();
            if (next && !next->stack) {
                f.task = next;
                continue;
            }
            if (!next) m.explain();
            m.pool_.give_back(f);
            m.pool_.switch_to(next ? *next->stack : m.pool_.host());
        }
    }

    void become(thread& t, fiber_stack& f) {
        t.stack = &f;
        current_ = &t;
        thread_index = t.index;
    }

    /// Back to the host for good.
    [[noreturn]] void leave() {
        pool_.switch_to(pool_.host());
        std::abort();  // nobody resumes it
    }

    /// Lets others run until the thread is ready, and its turn has come.
    void wait(thread& t) {
        thread* next = choose();
        if (!next) explain();
        if (next != &t) {
            fiber_stack* target = next->stack;
            if (!target) {
                target = &pool_.take();
                target->task = next;
            }
            pool_.switch_to(*target);
        }
        current_ = &t;
        thread_index = t.index;
    }

    /// Several threads have become ready at once: in random order another warp may go on.
    void turn() {
        if (sequence_ != sequence::random) return;
        if (warps_.size() > 1) std::swap(warp_order_[0], warp_order_[order_now().random.below(warps_.size())]);
        rotation_ = order_now().random.below(32);
    }

    /// The thread whose turn it is, or null.
    thread* choose() {
        for (unsigned i : warp_order_) {
            warp& w = warps_[i];
            if (w.ready == 0) continue;
            int lane = std::countr_zero(w.ready);
            if (sequence_ == sequence::descending) lane = 31 - std::countl_zero(w.ready);
            if (sequence_ == sequence::random)
                lane = (std::countr_zero(std::rotr(w.ready, static_cast<int>(rotation_))) + static_cast<int>(rotation_)) % 32;
            return &w.lanes[lane];
        }
        return nullptr;
    }

    std::string in_kernel(std::string const& message) const { return name_of(kernel_) + ", block " + to_string(block_index) + ": " + message; }

    static std::string whereabouts(thread const& t) {
        std::string name = "thread " + to_string(t.index);
        if (t.now == condition::returned) return name + " has returned";
        if (t.now == condition::in_warp_operation) return name + " is in " + to_string(t.where) + " of mask " + hex(t.mask);
        return name + " is at " + to_string(t.where);
    }

    /// No thread is ready: fine where all have returned, else some wait for others in vain.
    void explain() {
        problem_ = standstill();
        if (problem_.empty()) return;
        problem_ = in_kernel(problem_);
        leave();
    }

    std::string standstill() const {
        for (warp const& w : warps_) {
            if (w.meetings.empty()) continue;
            meeting const& m = w.meetings.front();
            unsigned missing = m.mask & ~m.arrived;
            std::string text = "lanes missing: " + hex(missing) + " of mask " + hex(m.mask) + " never arrive at " + to_string(m.where);
            if ((missing & ~w.exists) != 0) return text + "; the block has no such threads";
            return text + "; " + whereabouts(w.lanes[std::countr_zero(missing)]);
        }
        thread const* waiting = nullptr;
        thread const* returned = nullptr;
        for (thread const& t : threads_) (t.now == condition::returned ? returned : waiting) = &t;
        if (!waiting) return "";
        return "divergent barrier: " + whereabouts(*waiting) + ", which thread " + to_string(returned->index) + " never reached: it has returned";
    }

    std::string describe(hazard h, std::size_t offset, thread const& t, void const* from) const {
        std::string text = "thread " + to_string(t.index);
        std::string other = "thread " + to_string(threads_[watch_.other()].index);
        std::string place = " (near byte " + std::to_string(offset) + " of shared memory, at " + name_of_code(from) + ")";
        if (h == hazard::unwritten) return text + " reads what nobody has written" + place;
        if (h == hazard::read_while_written) return text + " reads what " + other + " writes without a barrier between" + place;
        if (h == hazard::write_while_written) return text + " writes what " + other + " writes without a barrier between" + place;
        return text + " writes what " + other + " reads without a barrier between" + place;
    }

    /// Whether this thread of the host is inside of a launch.
    static bool& in_kernel_now() {
        static thread_local bool value = false;
        return value;
    }

    std::mutex mutex_;  // one launch at a time
    fiber_pool pool_;
    void const* kernel_ = nullptr;
    void (*body_)(void const*) = nullptr;
    void const* arguments_ = nullptr;
    std::vector<thread> threads_;
    std::vector<warp> warps_;
    std::vector<unsigned> warp_order_;
    sequence sequence_ = sequence::ascending;
    unsigned rotation_ = 0;
    thread* current_ = nullptr;
    std::size_t waiting_ = 0;  // threads at the barrier
    call barrier_;
    std::uint32_t barriers_ = 0;  // of the block so far
    memory_watch watch_;
    std::byte* shared_ = nullptr;
    std::size_t shared_bytes_ = 0;
    std::string problem_;
    std::exception_ptr thrown_;
};

}  // namespace emulation::detail

namespace emulation {

/// CUDA's shuffles and votes "do not imply a memory barrier", and the watch over shared memory reports those who rely on one. With `on` it takes them
/// for one: compilers seldom move an access across them.
inline void take_shuffles_for_barriers(bool on) { detail::memory_watch::shuffles_order() = on; }

/// The block's dynamic shared memory, of exactly as many bytes as the launch said.
inline std::byte* shared_memory() { return detail::machine::get().shared(); }

}  // namespace emulation
