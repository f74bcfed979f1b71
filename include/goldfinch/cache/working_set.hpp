// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <list>
#include <memory>
#include <mutex>
#include <new>
#include <utility>

#include <goldfinch/cache/token_table.hpp>

namespace goldfinch::detail {

/// What a model keeps of its sessions' caches in a form that is quicker to use, up to a budget of bytes: keys and values that were rebuilt from
/// their pages, whose rows never change. It is no part of a session, and can go at any time.
///
/// What was used longest ago goes first, and what a pass uses never goes to make room for the rest of it: every step reads all pages of its sessions
/// in order, and would otherwise find none of those that did not all fit. Where they do not, a table of what pages without room are made from, by token,
/// takes up to an eighth of the budget. May be used by several threads.
template <class Backend>
class working_set {
    struct entry;
    using entries = std::list<entry>;

public:
    using memory = typename Backend::template buffer<std::byte>;
    /// Counts passes: what an earlier one used last may go.
    using pass_number = std::uint64_t;
    using table = token_table<typename Backend::scalar>;

    /// Part of a page: where in the set its rebuilt form is. A copy of a page is another page, of which nothing is kept.
    class place {
    public:
        place() = default;
        place(place const&) {}
        place& operator=(place const&) = delete;
        ~place() {
            if (set_) set_->forget(*this);
        }

    private:
        friend working_set;
        std::shared_ptr<working_set> set_;     // once something has been kept
        typename entries::iterator entry_ = {};  // if kept_
        bool kept_ = false;                    // this and entry_ are the set's, under its mutex
    };

    /// Bytes to keep at most. What is too much goes at once.
    void budget(std::size_t bytes) {
        std::lock_guard const lock(mutex_);
        budget_ = bytes;
        if (bytes_ > budget_) drop_table();
        while (bytes_ > budget_ && !entries_.empty()) drop(entries_.begin());
    }
    /// Bytes kept.
    std::size_t bytes() const {
        std::lock_guard const lock(mutex_);
        return bytes_;
    }

    pass_number begin_pass() {
        std::lock_guard const lock(mutex_);
        return ++passes_;
    }

    /// What is kept of a page: memory, or null, and how many of its rows are filled.
    struct found {
        std::shared_ptr<memory> kept = nullptr;
        std::size_t rows = 0;
    };
    /// The pass uses what is found from now on. Where fewer than `rows` rows are filled it fills them and calls `extend`; until then no other
    /// pass finds this.
    found find(place& of, std::size_t rows, pass_number pass) {
        std::lock_guard const lock(mutex_);
        if (!of.kept_ || of.entry_->growing) return {};
        entry& e = *of.entry_;
        e.used = pass;
        e.growing = e.rows < rows;
        entries_.splice(entries_.end(), entries_, of.entry_);
        return {e.kept, e.rows};
    }
    /// So many rows of what was found are filled now.
    void extend(place& of, memory const& kept, std::size_t rows) {
        std::lock_guard const lock(mutex_);
        if (of.kept_ && of.entry_->kept.get() == &kept) of.entry_->rows = rows, of.entry_->growing = false;
    }

    /// Memory that a pass may fill and then keep, or null where there is no room for it.
    std::shared_ptr<memory> take(std::size_t bytes, pass_number pass) {
        {
            std::lock_guard const lock(mutex_);
            if (bytes > budget_) return nullptr;
            while (bytes_ + bytes > budget_) {
                bool const page = !entries_.empty() && entries_.front().used < pass;
                if (table_ != nullptr && table_used_ + 1 < pass && !(page && entries_.front().used < table_used_))
                    drop_table();
                else if (page)
                    drop(entries_.begin());
                else
                    return nullptr;
            }
            bytes_ += bytes;
        }
        try {
            return std::make_shared<memory>(bytes);
        } catch (std::exception const&) {  // what the backend has no memory for is rebuilt whenever it is needed
            give_back(bytes);
            return nullptr;
        }
    }
    /// Gives back memory that was taken and not kept.
    void give_back(std::size_t bytes) {
        std::lock_guard const lock(mutex_);
        bytes_ -= bytes;
    }
    /// Keeps memory that was taken and of which so many rows are filled now, unless another pass has been faster. `self` is this set.
    static void keep(std::shared_ptr<working_set> const& self, place& of, std::shared_ptr<memory> const& filled, std::size_t rows, pass_number pass) noexcept {
        std::lock_guard const lock(self->mutex_);
        try {
            if (!of.kept_ && self->bytes_ <= self->budget_) {
                of.entry_ = self->entries_.insert(self->entries_.end(), {filled, rows, false, pass, &of});
                of.set_ = self;
                of.kept_ = true;
                return;
            }
        } catch (std::bad_alloc const&) {
        }
        self->bytes_ -= filled->size();
    }

    /// The table of rows of `width` numbers for tokens below vocab_size, or null where the budget is too small for one. Pages go to make room for it and for its
    /// rows, also those that a pass uses.
    std::shared_ptr<table> use_table(std::size_t vocab_size, std::size_t width, pass_number pass) {
        std::size_t const empty = table::empty_bytes(vocab_size), block = table::block_bytes(width);
        std::lock_guard const lock(mutex_);
        if (table_ == nullptr) {
            std::size_t const most = budget_ / 8;
            if (empty + block > most || !make_room(empty)) return nullptr;
            try {
                table_ = std::make_shared<table>(vocab_size, width, (most - empty) / block);
            } catch (std::bad_alloc const&) {
                return nullptr;
            }
            bytes_ += table_bytes_ = empty;
        }
        table_used_ = pass;
        return table_;
    }
    /// Makes room for so many bytes more of a table, unless that has gone.
    bool grow(table const& of, std::size_t bytes) {
        std::lock_guard const lock(mutex_);
        if (table_.get() != &of || !make_room(bytes)) return false;
        bytes_ += bytes;
        table_bytes_ += bytes;
        return true;
    }

private:
    struct entry {
        std::shared_ptr<memory> kept;
        std::size_t rows;
        bool growing;
        pass_number used;
        place* of;
    };

    void drop(typename entries::iterator e) {
        bytes_ -= e->kept->size();
        e->of->kept_ = false;
        entries_.erase(e);
    }
    void drop_table() {
        bytes_ -= std::exchange(table_bytes_, 0);
        table_ = nullptr;
    }
    bool make_room(std::size_t bytes) {
        while (bytes_ + bytes > budget_ && !entries_.empty()) drop(entries_.begin());
        return bytes_ + bytes <= budget_;
    }
    void forget(place& of) {
        std::lock_guard const lock(mutex_);
        if (of.kept_) drop(of.entry_);
    }

    mutable std::mutex mutex_;
    entries entries_;  // the one used longest ago first
    std::size_t bytes_ = 0, budget_ = 0;
    pass_number passes_ = 0;
    std::shared_ptr<table> table_;  // or null
    std::size_t table_bytes_ = 0;
    pass_number table_used_ = 0;
};

}  // namespace goldfinch::detail
