// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <new>
#include <utility>

#include <goldfinch/backend/cpu/executor.hpp>
#include <goldfinch/backend/cpu/memory.hpp>
#include <goldfinch/compiler.hpp>

namespace goldfinch {

/// Temporaries of one thread at work: a stack of memory that is kept, so that steady work allocates nothing.
class scratch {
    struct alignas(alignment) block {
        block* next;
        std::size_t size;  // bytes behind this
    };

public:
    scratch() = default;
    scratch(scratch const&) = delete;
    scratch& operator=(scratch const&) = delete;
    ~scratch() { clear(); }

    /// Uninitialised, aligned to `alignment`.
    void* take(std::size_t bytes) {
        bytes = (bytes + alignment - 1) / alignment * alignment;
        if (at_ == nullptr || used_ + bytes > at_->size) find_block(bytes);
        void* const p = reinterpret_cast<std::byte*>(at_ + 1) + used_;
        used_ += bytes;
        return p;
    }
    /// How much is taken: `release` gives back all that is taken after it.
    cpu_executor::mark top() const { return {at_, used_}; }
    void release(cpu_executor::mark m) noexcept {
        at_ = static_cast<block*>(m.block);
        used_ = m.used;
        if (at_ == nullptr && first_ != nullptr && first_->next != nullptr) least_ = clear();  // next time it all fits in one block
    }

private:
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
    GOLDFINCH_COLD std::size_t clear() noexcept {
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

}  // namespace goldfinch
