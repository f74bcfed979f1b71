// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

namespace goldfinch::detail {

/// A row of numbers for each of some tokens, as many as there is room for. Rows are added and never change, nor move; they are found without a lock.
/// May be used by several threads.
template <class T>
class token_table {
public:
    static constexpr std::size_t rows_of_block = 64;

    /// For tokens below vocab_size, rows of so many numbers, and this many blocks of them at most.
    token_table(std::size_t vocab_size, std::size_t width, std::size_t most_blocks) : width_(width), rows_(vocab_size), blocks_(most_blocks) {}

    /// Bytes of a table without rows, and of a block of rows.
    static constexpr std::size_t empty_bytes(std::size_t vocab_size) { return vocab_size * sizeof(std::uint32_t); }
    static constexpr std::size_t block_bytes(std::size_t width) { return rows_of_block * width * sizeof(T); }

    /// A token's row, or null.
    T const* find(std::size_t token) const {
        std::size_t const row = rows_[token].load(std::memory_order_acquire);
        return row == 0 ? nullptr : at(row - 1);
    }

    /// Adds a token's row, if it lacks one and there is room: room() says whether there is for another block.
    template <class Room>
    void add(std::size_t token, T const* row, Room const& room) {
        std::lock_guard const lock(mutex_);
        if (rows_[token].load(std::memory_order_relaxed) != 0) return;
        if (size_ == allocated_ * rows_of_block) {
            if (allocated_ == blocks_.size() || !room()) return;
            blocks_[allocated_].reset(new T[rows_of_block * width_]);
            ++allocated_;
        }
        std::copy_n(row, width_, at(size_));
        rows_[token].store(static_cast<std::uint32_t>(++size_), std::memory_order_release);
    }

private:
    T* at(std::size_t row) const { return blocks_[row / rows_of_block].get() + row % rows_of_block * width_; }

    std::size_t width_;
    std::vector<std::atomic<std::uint32_t>> rows_;  // of each token, counted from 1; 0: none
    std::vector<std::unique_ptr<T[]>> blocks_;      // those that are allocated first
    std::mutex mutex_;                              // of what follows
    std::size_t allocated_ = 0, size_ = 0;
};

}  // namespace goldfinch::detail
