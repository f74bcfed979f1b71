// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>


namespace goldfinch::detail {

/// Positions of a page, and of a tile: of the keys and values that are made and read together. Enough for matrix products, few enough for
/// the L2 cache.
inline constexpr std::size_t page_positions = 64;

/// Rows of one sequence, one a position, that only ever grow, in pages of page_positions: growing moves nothing, and slack is at most a
/// page. A page that is full never changes, so copies share it; the last one is copied. A page is one buffer of the backend that holds
/// several planes, one after another, each an array of rows:
///
///     | plane 0: page_positions rows of RowBytes[0] | plane 1: page_positions rows of RowBytes[1] | ...
///
/// Every page carries an Attached, which is no part of what is kept: it may change while the rows are read.
template <class Backend, class Attached, std::size_t... RowBytes>
class pages {
    struct page {
        typename Backend::template buffer<std::byte> memory;
        [[no_unique_address]] Attached attached = {};
        explicit page(std::size_t bytes) : memory(bytes) {}
    };
    static constexpr std::size_t n_planes = sizeof...(RowBytes);
    static constexpr std::array<std::size_t, n_planes> plane_row_bytes{RowBytes...};

    /// Where a plane begins; each on a cache line.
    static constexpr std::size_t plane_offset(std::size_t plane) {
        std::size_t offset = 0;
        for (std::size_t i = 0; i < plane; ++i) offset += (page_positions * plane_row_bytes[i] + 63) / 64 * 64;
        return offset;
    }
    static constexpr std::size_t page_bytes = plane_offset(n_planes);
    static constexpr std::size_t pages_for(std::size_t n) { return (n + page_positions - 1) / page_positions; }

public:
    /// Bytes of a position's rows.
    static constexpr std::size_t row_bytes = (RowBytes + ... + 0);

    pages() = default;
    pages(pages const& other)
        : pages_(other.pages_.begin(), other.pages_.begin() + static_cast<std::ptrdiff_t>(pages_for(other.size_))), size_(other.size_) {
        if (size_ % page_positions != 0) pages_.back() = std::make_shared<page>(*pages_.back());
    }
    pages(pages&& other) noexcept : pages_(std::move(other.pages_)), size_(std::exchange(other.size_, 0)) {}
    pages& operator=(pages const& other) {
        pages copy(other);
        return *this = std::move(copy);
    }
    pages& operator=(pages&& other) noexcept {
        pages_ = std::exchange(other.pages_, {});  // assigned to itself, it must not lose its pages and keep their number
        size_ = std::exchange(other.size_, 0);
        return *this;
    }

    /// Positions.
    std::size_t size() const { return size_; }
    /// Bytes of the pages allocated, and of what holds them.
    std::size_t bytes() const { return pages_.size() * (page_bytes + sizeof(page) + sizeof(pages_[0])); }

    /// Makes room for n positions in all; the rows there are stay as they are.
    void reserve(std::size_t n) {
        while (pages_.size() < pages_for(n)) pages_.push_back(std::make_shared<page>(page_bytes));
    }
    /// Takes the rows up to n, for which there is room, as written.
    void grow(std::size_t n) { size_ = n; }

    /// The row of a position in a plane; those behind it follow, up to the end of the page.
    template <class T>
    T* row(std::size_t plane, std::size_t position) {
        return reinterpret_cast<T*>(pages_[position / page_positions]->memory.data() + plane_offset(plane) + position % page_positions * plane_row_bytes[plane]);
    }
    template <class T>
    T const* row(std::size_t plane, std::size_t position) const {
        return const_cast<pages*>(this)->template row<T>(plane, position);
    }

    /// What goes with the index-th page.
    Attached& attached(std::size_t index) const { return pages_[index]->attached; }

    /// Calls f(position, count, offset from `first`) for each run of [first, first + n) that lies in one page.
    template <class F>
    static void runs(std::size_t first, std::size_t n, F const& f) {
        for (std::size_t at = 0; at < n;) {
            std::size_t const count = std::min(n - at, page_positions - (first + at) % page_positions);
            f(first + at, count, at);
            at += count;
        }
    }

    /// How many pages are the same as another's: always the first ones, since pages are shared by copying.
    std::size_t pages_shared_with(pages const& other) const {
        std::size_t low = 0, high = std::min(pages_.size(), other.pages_.size());
        while (low < high) {
            std::size_t const middle = low + (high - low) / 2;
            if (pages_[middle] == other.pages_[middle])
                low = middle + 1;
            else
                high = middle;
        }
        return low;
    }

    /// Passes all rows through an archive, which reads or writes them.
    static void transfer(auto& self, auto& archive) {
        for (std::size_t plane = 0; plane < n_planes; ++plane)
            runs(0, self.size(), [&](std::size_t position, std::size_t count, std::size_t) {
                archive.bytes(self.template row<std::byte>(plane, position), count * plane_row_bytes[plane]);
            });
    }

private:
    std::vector<std::shared_ptr<page>> pages_;
    std::size_t size_ = 0;
};

/// For pages with which nothing goes.
struct nothing_attached {};

/// Who holds a page that several sequences share: work on it is done once, for its owner. Of sequences that share a page the first in the
/// batch owns it.
class page_owners {
public:
    /// For n sequences; pages(i) are those of the i-th.
    template <class PagesOf>
    page_owners(std::size_t n, PagesOf const& pages_of) : many_(n > n_few ? n : 0) {
        if (n > n_few) entries_ = many_.data();
        for (std::size_t i = 1; i < n; ++i)
            for (std::size_t j = 0; j < i; ++j)
                if (std::size_t const shared = pages_of(i).pages_shared_with(pages_of(j)); shared > entries_[i].shared) entries_[i] = {j, shared};
    }
    page_owners(page_owners const&) = delete;
    page_owners& operator=(page_owners const&) = delete;

    /// The owner of sequence i's page.
    std::size_t operator()(std::size_t i, std::size_t page) const {
        while (page < entries_[i].shared) i = entries_[i].with;
        return i;
    }
    /// How many pages of sequence i, the first ones, belong to another.
    std::size_t shared(std::size_t i) const { return entries_[i].shared; }

private:
    struct entry {
        std::size_t with = 0, shared = 0;
    };
    static constexpr std::size_t n_few = 16;  // as most batches are
    std::array<entry, n_few> few_{};
    std::vector<entry> many_;
    entry* entries_ = few_.data();
};

}  // namespace goldfinch::detail
