// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/mman.h>

#include <boost/context/fiber.hpp>
#include <boost/context/stack_context.hpp>
#include <cstddef>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "asan.hpp"

// Fibers that hand over to each other directly, on stacks that are kept for the next launch. AddressSanitizer is told of each switch.

namespace emulation::detail {

struct thread;

/// A stack and the fiber on it; the host's own stack is one, too. Fibers are never finished: an idle one waits for a thread of some later block.
struct fiber_stack {
    boost::context::fiber suspended;  // while it does not run
    thread* task = nullptr;           // what an idle one does when it is resumed
    bool idle = false;
    void* bottom = nullptr;
    std::size_t size = 0;
};

class fiber_pool {
    static constexpr std::size_t guard_bytes = 4096;
    static constexpr std::size_t stack_bytes = std::size_t{256} << 10;

public:
    /// The body of every fiber: works as long as there are tasks, and never returns.
    using body = void (*)(fiber_stack&);

    explicit fiber_pool(body run) : body_(run) {}

    fiber_stack& running() { return *running_; }
    bool on_host() const { return running_ == &host_; }
    fiber_stack& host() { return host_; }

    /// An idle fiber.
    fiber_stack& take() {
        if (idle_.empty()) add();
        fiber_stack& f = *idle_.back();
        idle_.pop_back();
        f.idle = false;
        return f;
    }

    /// The running fiber's thread has returned.
    void give_back(fiber_stack& f) {
        f.idle = true;
        idle_.push_back(&f);
    }

    /// Suspends what is running and resumes another.
    void switch_to(fiber_stack& target) {
        fiber_stack& self = *running_;
        previous_ = &self;
        running_ = &target;
        boost::context::fiber next = std::move(target.suspended);
#if EMULATION_ASAN
        void* fake_stack = nullptr;
        __sanitizer_start_switch_fiber(&fake_stack, target.bottom, target.size);
#endif
        next = std::move(next).resume();
#if EMULATION_ASAN
        announce_arrival(fake_stack);
#endif
        previous_->suspended = std::move(next);
    }

    /// Forgets what the fibers that are not idle were doing, without unwinding their stacks: kernels may be noexcept, and own nothing. On the host
    /// only.
    void abandon() {
        for (auto& f : all_) {
            if (f->idle) continue;
            alignas(boost::context::fiber) std::byte forgotten[sizeof(boost::context::fiber)];
            ::new (static_cast<void*>(forgotten)) boost::context::fiber(std::move(f->suspended));
            start(*f);
            give_back(*f);
        }
    }

private:
    struct stack_of {
        fiber_stack* f;
        boost::context::stack_context allocate() {
            boost::context::stack_context c;
            c.sp = static_cast<std::byte*>(f->bottom) + f->size;
            c.size = f->size;
            return c;
        }
        void deallocate(boost::context::stack_context&) {}
    };

    void add() {
        void* memory = ::mmap(nullptr, guard_bytes + stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) throw std::bad_alloc();
        ::mprotect(memory, guard_bytes, PROT_NONE);
        auto& f = *all_.emplace_back(std::make_unique<fiber_stack>());
        f.bottom = static_cast<std::byte*>(memory) + guard_bytes;
        // Stacks that began at the same place of a page would share a few sets of the first-level cache.
        f.size = stack_bytes - all_.size() % 16 * 256;
        start(f);
        give_back(f);
    }

    void start(fiber_stack& f) {
#if EMULATION_ASAN
        __asan_unpoison_memory_region(f.bottom, f.size);
#endif
        f.suspended = boost::context::fiber(std::allocator_arg, stack_of{&f}, [this, &f](boost::context::fiber&& from) {
#if EMULATION_ASAN
            announce_arrival(nullptr);
#endif
            previous_->suspended = std::move(from);
            body_(f);
            return boost::context::fiber();
        });
    }

#if EMULATION_ASAN
    void announce_arrival(void* fake_stack) {
        void const* bottom = nullptr;
        std::size_t size = 0;
        __sanitizer_finish_switch_fiber(fake_stack, &bottom, &size);
        if (previous_ == &host_) {
            host_.bottom = const_cast<void*>(bottom);
            host_.size = size;
        }
    }
#endif

    body body_;
    fiber_stack host_;
    fiber_stack* running_ = &host_;
    fiber_stack* previous_ = nullptr;
    std::vector<std::unique_ptr<fiber_stack>> all_;
    std::vector<fiber_stack*> idle_;
};

}  // namespace emulation::detail
