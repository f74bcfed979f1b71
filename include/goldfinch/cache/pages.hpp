// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

namespace goldfinch::detail {

/// Rows that only ever grow, in pages of Page::rows each: growing moves nothing, and slack is at most a page. A page that is
/// full never changes, so copies share it; the last one is copied.
template <class Page>
class paged {
public:
    paged() = default;
    paged(paged const& other) : pages_(other.pages_.begin(), other.pages_.begin() + static_cast<std::ptrdiff_t>(pages_for(other.size_))), size_(other.size_) {
        if (size_ % Page::rows != 0) pages_.back() = std::make_shared<Page>(*pages_.back());
    }
    paged(paged&& other) noexcept : pages_(std::move(other.pages_)), size_(std::exchange(other.size_, 0)) {}
    paged& operator=(paged const& other) {
        paged copy(other);
        return *this = std::move(copy);
    }
    paged& operator=(paged&& other) noexcept {
        pages_ = std::move(other.pages_);
        size_ = std::exchange(other.size_, 0);
        return *this;
    }

    std::size_t size() const { return size_; }

    /// Makes room for n rows in all; the rows there are stay as they are.
    void reserve(std::size_t n) {
        while (pages_.size() < pages_for(n)) pages_.push_back(std::make_shared<Page>());
    }
    /// Takes the rows up to n, for which there is room, as written.
    void grow(std::size_t n) { size_ = n; }

    /// Calls f(page, first row in the page, rows, offset from `first`) for each run of [first, first + n) that lies in one page.
    template <class F>
    void runs(std::size_t first, std::size_t n, F const& f) const {
        for (std::size_t at = 0; at < n;) {
            std::size_t const row = (first + at) % Page::rows, count = std::min(n - at, Page::rows - row);
            f(*pages_[(first + at) / Page::rows], row, count, at);
            at += count;
        }
    }

    /// Bytes allocated.
    std::size_t bytes() const { return pages_.size() * sizeof(Page) + pages_.capacity() * sizeof(pages_[0]); }

private:
    static constexpr std::size_t pages_for(std::size_t n) { return (n + Page::rows - 1) / Page::rows; }

    std::vector<std::shared_ptr<Page>> pages_;
    std::size_t size_ = 0;
};

}  // namespace goldfinch::detail
