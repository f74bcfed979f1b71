// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <goldfinch/backend/cuda/driver.hpp>
#include <goldfinch/backend/cuda/graph.hpp>
#include <goldfinch/compiler.hpp>
#include <goldfinch/error.hpp>
#include <goldfinch/message.hpp>

namespace goldfinch::detail {

/// Bytes of the host on their way to the device: pinned memory, and memory of the device in which they have the same place; pinned memory alone, which kernels
/// reach slowly, where the device has none.
class cuda_staging {
    using driver = cuda_driver<>;
    struct block {
        std::byte *pinned, *device;
        std::size_t size;
        std::size_t used = 0, transferred = 0;
    };

public:
    static constexpr std::size_t alignment = 16;

    cuda_staging() = default;
    cuda_staging(cuda_staging const&) = delete;
    cuda_staging& operator=(cuda_staging const&) = delete;
    ~cuda_staging() { clear(); }

    /// Takes a copy of the bytes; where they will be on the device.
    void const* take(void const* host, std::size_t bytes) {
        std::size_t const rounded = (bytes + alignment - 1) / alignment * alignment;
        if (blocks_.empty() || blocks_.back().used + rounded > blocks_.back().size) add_block(rounded);
        block& b = blocks_.back();
        std::memcpy(b.pinned + b.used, host, bytes);
        return b.device + std::exchange(b.used, b.used + rounded);
    }
    /// Adds the transfers of all that was taken since the last call.
    void transfers(std::vector<cuda_transfer>& to) {
        for (block& b : blocks_)
            if (b.transferred < b.used) {
                if (b.device != b.pinned) to.push_back({b.device + b.transferred, b.pinned + b.transferred, b.used - b.transferred});
                b.transferred = b.used;
            }
    }
    /// The device has all of it and needs it no longer.
    void reset() noexcept {
        bool const short_of_memory = std::any_of(blocks_.begin(), blocks_.end(), [](block const& b) { return b.device == b.pinned; });
        if (blocks_.size() > 1 || short_of_memory) least_ = clear();  // next time it all fits in one block, of the device's
        for (block& b : blocks_) b.used = b.transferred = 0;
    }

private:
    GOLDFINCH_COLD void add_block(std::size_t bytes) {
        std::size_t const size = std::max(bytes, blocks_.empty() ? least_ : 2 * blocks_.back().size);
        blocks_.reserve(blocks_.size() + 1);
        auto* const pinned = static_cast<std::byte*>(driver::allocate_pinned(size));
        block& added = blocks_.emplace_back(block{pinned, pinned, size});
        if (void* p = nullptr; driver::try_allocate(p, size)) added.device = static_cast<std::byte*>(p);
    }
    std::size_t clear() noexcept {
        std::size_t total = 0;
        for (block const& b : blocks_) {
            total += b.size;
            if (b.device != b.pinned) driver::free(b.device);
            driver::free_pinned(b.pinned);
        }
        blocks_.clear();
        return total;
    }

    std::vector<block> blocks_;
    std::size_t least_ = std::size_t{1} << 16;
};

/// What a model's operations put into its stream. The launches of a pass of few tokens, which would take longer than their work, are recorded with their
/// arguments by value and begin together when something waits for them: as a CUDA graph where the same kernels came in the same order before, since from token
/// to token few arguments change. A pass of many tokens is launched as it comes, so that the device does not wait for the host. Used by the thread that holds
/// the lease.
class cuda_recorder {
    using driver = cuda_driver<>;

public:
    static constexpr std::size_t most_tokens = 64;      ///< of a pass that is recorded: the device has little to do
    static constexpr std::size_t most_launches = 4096;  ///< of a recording: what follows them in a pass is launched as it comes
    static constexpr std::size_t least_launches = 8;    ///< of a graph
    static constexpr std::size_t most_kept = 8;         ///< orders of kernels, and graphs of those that came twice: the one that was unused for longest goes

    /// Throws config_error where GOLDFINCH_CUDA_GRAPHS is neither on nor off, which launches all work as it comes.
    cuda_recorder() {
        char const* const wish = std::getenv("GOLDFINCH_CUDA_GRAPHS");
        std::string_view const value = wish != nullptr ? wish : "on";
        if (value != "on" && value != "off") throw config_error(message({"goldfinch: GOLDFINCH_CUDA_GRAPHS is on or off, found ", value}));
        enabled_ = value == "on";
    }
    cuda_recorder(cuda_recorder const&) = delete;
    cuda_recorder& operator=(cuda_recorder const&) = delete;

    void* stream = nullptr;  ///< where the work goes

    /// Before the work of a lease. Throws what the end of an earlier one could not: sessions lack what was not launched then.
    void begin() {
        if (failure_) std::rethrow_exception(failure_);
        recording_ = enabled_, many_tokens_ = false;
    }
    /// At the end of a lease: launches and waits.
    void finish() noexcept {
        try {
            flush();
        } catch (...) {
            failure_ = std::current_exception();
        }
        recording_ = false;
        driver::wait(stream);  // what went wrong, the next call says
        staging_.reset();
    }

    /// A pass of so many tokens begins.
    void begin_pass(std::size_t tokens) {
        many_tokens_ = tokens > most_tokens;
        if (!enabled_ || recording_ != many_tokens_) return;
        flush();
        recording_ = !recording_;
    }
    bool recording() const { return recording_; }
    /// Whether the pass has more tokens than are recorded, on or off: what cannot be recorded may be part of it.
    bool many_tokens() const { return many_tokens_; }

    template <class... Arguments>
    void launch(void const* kernel, cuda_extents grid, cuda_extents block, std::size_t shared, Arguments const&... arguments) {
        if (recording_ && now_.size() == most_launches) {
            flush(false);
            recording_ = false;
        }
        if (!recording_) {
            void* addresses[] = {const_cast<void*>(static_cast<void const*>(&arguments))...};
            return driver::launch(stream, {kernel, grid, block, shared, addresses});
        }
        if (now_.empty()) announce();
        now_.add(kernel, grid, block, shared, arguments...);
    }
    /// The launches that are recorded and not yet launched, to which others may be joined; none where launches are not recorded.
    cuda_recording& recorded() { return now_; }

    /// Where bytes of the host will be on the device until the end of the lease, for launches that are recorded.
    void const* stage(void const* host, std::size_t bytes) { return staging_.take(host, bytes); }

    /// Launches what is recorded.
    void flush(bool may_be_graph = true) {
        struct end {
            cuda_recorder& of;
            ~end() { of.now_.clear(), of.withdraw(); }  // what was held goes when all is launched
        } const at_end{*this};
        transfers_.clear();
        staging_.transfers(transfers_);
        if (now_.empty() && transfers_.empty()) return;
        if (!may_be_graph || now_.size() < least_launches || !launch_graph()) launch_directly();
    }

    /// Keeps memory that may be in use by what any thread has recorded and not launched.
    static void hold(std::shared_ptr<void> const& memory) {
        std::lock_guard const lock(all().mutex);
        for (cuda_recorder* const r : all().pending) r->held_.push_back(memory);
    }

    /// Frees what is held for this recording, by launching it. Says whether there was anything.
    bool free_held() {
        {
            std::lock_guard const lock(all().mutex);
            if (held_.empty()) return false;
        }
        flush();
        return true;
    }

private:
    /// An order of kernels that came, what it was launched with last, and its graph if it came twice.
    struct kept_graph {
        cuda_recording launches;
        std::vector<cuda_transfer> transfers;
        std::optional<cuda_graph> graph;
    };
    /// The recorders that have something recorded.
    struct recorders {
        std::mutex mutex;
        std::vector<cuda_recorder*> pending;
    };
    static recorders& all() {
        static recorders& list = *new recorders;  // outlives models that are destroyed at the program's end
        return list;
    }
    void announce() {
        std::lock_guard const lock(all().mutex);
        all().pending.push_back(this);
    }
    /// What was held for the recording: the caller lets it go when that is launched.
    std::vector<std::shared_ptr<void>> withdraw() {
        std::lock_guard const lock(all().mutex);
        std::erase(all().pending, this);
        return std::exchange(held_, {});
    }

    void launch_directly() {
        for (cuda_transfer const& t : transfers_) driver::transfer(stream, t);
        for (std::size_t i = 0; i < now_.size(); ++i) now_.with_launch(i, [&](cuda_launch const& l) { driver::launch(stream, l); });
    }

    /// Whether it was launched: not where it comes for the first time, and where CUDA has no such graph to give.
    bool launch_graph() {
        auto const at = std::find_if(kept_.begin(), kept_.end(),
                                     [&](kept_graph const& k) { return k.transfers.size() == transfers_.size() && k.launches.same_shape(now_); });
        if (at == kept_.end()) {
            kept_graph& fresh = kept_.emplace_front();
            fresh.launches = now_, fresh.transfers = transfers_;
            if (kept_.size() > most_kept) kept_.pop_back();
            return false;
        }
        kept_.splice(kept_.begin(), kept_, at);
        try {
            if (at->graph)
                update(*at);
            else
                at->graph.emplace(transfers_, now_);
            at->graph->launch(stream);
        } catch (cuda_error const&) {
            at->graph.reset();
            return false;
        } catch (...) {
            at->graph.reset();
            throw;
        }
        std::swap(at->launches, now_);
        std::swap(at->transfers, transfers_);
        return true;
    }
    void update(kept_graph& kept) {
        for (std::size_t i = 0; i < transfers_.size(); ++i) {
            cuda_transfer const &t = transfers_[i], &before = kept.transfers[i];
            if (t.to != before.to || t.pinned != before.pinned || t.bytes != before.bytes) kept.graph->set(i, t);
        }
        for (std::size_t i = 0; i < now_.size(); ++i)
            if (!now_.same_launch(i, kept.launches)) now_.with_launch(i, [&](cuda_launch const& l) { kept.graph->set(transfers_.size() + i, l); });
    }

    bool enabled_ = true, recording_ = false, many_tokens_ = false;
    cuda_recording now_;
    std::vector<cuda_transfer> transfers_;
    cuda_staging staging_;
    std::list<kept_graph> kept_;  // the one used last first
    std::vector<std::shared_ptr<void>> held_;  // under all().mutex
    std::exception_ptr failure_;
};

}  // namespace goldfinch::detail
