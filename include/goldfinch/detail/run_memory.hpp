// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

// The lists that a run of the model makes on the host, in memory that earlier runs have left: a token costs no allocation.

namespace goldfinch::detail {

/// Memory of the lists of one run, which goes back all at once.
class run_memory {
public:
    /// Uninitialised. Throws std::bad_alloc.
    void* take(std::size_t bytes) {
        bytes = (bytes + alignof(std::max_align_t) - 1) / alignof(std::max_align_t) * alignof(std::max_align_t);
        if (blocks_.empty() || used_ + bytes > blocks_.back().size()) {
            blocks_.emplace_back(bytes + (blocks_.empty() ? std::size_t{4096} : 2 * blocks_.back().size()));
            used_ = 0;
        }
        return blocks_.back().data() + std::exchange(used_, used_ + bytes);
    }
    /// The lists are gone. Next time it all fits in one block.
    void clear() {
        if (blocks_.size() > 1) blocks_.erase(blocks_.begin(), blocks_.end() - 1);
        used_ = 0;
    }

private:
    std::vector<std::vector<std::byte>> blocks_;  // each larger than those before it together
    std::size_t used_ = 0;                        // of the last one
};

/// The memory of lists that a model's runs leave to later ones. May be used by several threads.
class run_memories {
public:
    /// Memory for the lists of one run.
    class lease {
    public:
        explicit lease(run_memories& of) : of_(of), memory_(of.take()) {}
        lease(lease const&) = delete;
        lease& operator=(lease const&) = delete;
        ~lease() { of_.give_back(std::move(memory_)); }
        run_memory& operator*() const { return *memory_; }

    private:
        run_memories& of_;
        std::unique_ptr<run_memory> memory_;
    };

private:
    std::unique_ptr<run_memory> take() {
        std::lock_guard const lock(mutex_);
        if (idle_.empty()) return std::make_unique<run_memory>();
        std::unique_ptr<run_memory> result = std::move(idle_.back());
        idle_.pop_back();
        return result;
    }
    void give_back(std::unique_ptr<run_memory> memory) noexcept {
        try {
            memory->clear();
            std::lock_guard const lock(mutex_);
            idle_.push_back(std::move(memory));
        } catch (std::bad_alloc const&) {  // it is freed
        }
    }

    std::mutex mutex_;
    std::vector<std::unique_ptr<run_memory>> idle_;
};

/// A std::allocator for memory that ends with a run.
template <class T>
struct run_allocator {
    using value_type = T;
    run_memory* memory;

    run_allocator(run_memory& from) : memory(&from) {}
    template <class U>
    run_allocator(run_allocator<U> const& other) : memory(other.memory) {}
    T* allocate(std::size_t n) { return static_cast<T*>(memory->take(n * sizeof(T))); }
    void deallocate(T*, std::size_t) {}
    friend bool operator==(run_allocator const&, run_allocator const&) = default;
};

/// A vector that ends with a run: run_vector<int> v(memory), or v(n, memory).
template <class T>
using run_vector = std::vector<T, run_allocator<T>>;

}  // namespace goldfinch::detail
