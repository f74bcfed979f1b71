// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace emulation::detail {

enum class access_kind : unsigned char { read, write, atomic, copy_asked_for };

/// The memory whose accesses are watched: none outside of kernels, and while the emulation itself works on it.
inline constinit std::byte* watched_begin = nullptr;
inline constinit std::byte* watched_end = nullptr;

/// While the emulation works on a kernel's memory. The compiler may not move accesses into the scope or out of it: that they call the watch is added
/// to them later.
class unwatched {
public:
    unwatched() : end_(watched_end) {
        watched_end = watched_begin;
        asm volatile("" ::: "memory");
    }
    ~unwatched() {
        asm volatile("" ::: "memory");
        watched_end = end_;
    }
    unwatched(unwatched const&) = delete;
    unwatched& operator=(unwatched const&) = delete;

private:
    std::byte* end_;
};

/// What is wrong with an access to shared memory.
enum class hazard : unsigned char { none, unwritten, read_while_written, write_while_written, write_while_read };

/// A thread as far as the order of its accesses matters.
struct accessor {
    std::uint16_t warp = 0;
    std::uint16_t lane = 0;
    std::uint32_t since_barrier = 0;       // counts the barriers of its block
    std::uint32_t since_warp_barrier = 0;  // counts __syncwarp() of its warp, which alone orders the memory accesses of lanes
};

/// The accesses to a block's shared memory, byte by byte. Two are in order where a barrier of the block lies between them or, in one warp,
/// __syncwarp().
class memory_watch {
public:
    /// Whether the program's accesses are reported: those of files that were compiled for it.
    static bool& in_use() {
        static bool value = false;
        return value;
    }

    /// Whether shuffles and votes are taken to order memory accesses as __syncwarp() does.
    static bool& shuffles_order() {
        static bool value = false;
        return value;
    }

    void start(std::size_t bytes) { cells_.assign(in_use() ? bytes : 0, {}); }

    hazard read(std::size_t offset, std::size_t size, accessor const& t, bool atomic = false) {
        for (std::size_t i = offset; i < offset + size && i < cells_.size(); ++i) {
            cell& c = at(i, t);
            if (!c.is_written) return hazard::unwritten;
            if (conflicts_with_writer(c, t, atomic)) return with_writer(c, t, hazard::read_while_written);
            if (!atomic) note_reader(c, t);
        }
        return hazard::none;
    }

    /// With `arrives` false the bytes are on their way: nobody may read them yet.
    hazard write(std::size_t offset, std::size_t size, accessor const& t, bool atomic = false, bool arrives = true) {
        for (std::size_t i = offset; i < offset + size && i < cells_.size(); ++i) {
            cell& c = at(i, t);
            if (conflicts_with_writer(c, t, atomic)) return with_writer(c, t, hazard::write_while_written);
            if (c.readers != 0) {
                if (c.reader_warp != t.warp || c.readers_of_two_warps) return with(c.reader_warp * 32u + lowest(c.readers), hazard::write_while_read);
                std::uint32_t others = c.readers & ~(1u << t.lane);
                if (c.read_at == t.since_warp_barrier && others != 0) return with(t.warp * 32u + lowest(others), hazard::write_while_read);
            }
            c.readers = 0;
            c.readers_of_two_warps = false;
            note_writer(c, t, atomic);
            c.is_written = arrives;
        }
        return hazard::none;
    }

    /// The number of the other thread of the last hazard.
    unsigned other() const { return other_; }

private:
    struct cell {
        std::uint32_t barrier = 0;  // what follows happened after this one
        std::uint32_t written_at = 0, read_at = 0, readers = 0;
        std::uint16_t writer = 0, other_writer = 0, reader_warp = 0;
        bool has_writer = false, was_atomic = false, readers_of_two_warps = false;
        bool writers_differ = false, writers_of_two_warps = false;  // by atomic operations
        bool is_written = false;                                    // at any time
    };

    static unsigned number(accessor const& t) { return t.warp * 32u + t.lane; }

    cell& at(std::size_t i, accessor const& t) {
        cell& c = cells_[i];
        if (c.barrier != t.since_barrier) {
            bool is_written = c.is_written;
            c = {};
            c.is_written = is_written;
            c.barrier = t.since_barrier;
        }
        return c;
    }

    static bool conflicts_with_writer(cell const& c, accessor const& t, bool atomic) {
        if (!c.has_writer || (atomic && c.was_atomic)) return false;
        if (c.writers_of_two_warps || c.writer / 32 != t.warp) return true;
        return (c.writers_differ || c.writer != number(t)) && c.written_at == t.since_warp_barrier;
    }

    static void note_writer(cell& c, accessor const& t, bool atomic) {
        bool one_of_several = c.has_writer && atomic && c.was_atomic;
        bool unordered = one_of_several && c.writer != number(t) && (c.writer / 32 != t.warp || c.written_at == t.since_warp_barrier);
        if (unordered) c.other_writer = c.writer;
        c.writers_of_two_warps = one_of_several && (c.writers_of_two_warps || c.writer / 32 != t.warp);
        c.writers_differ = unordered || (one_of_several && c.writers_differ && c.written_at == t.since_warp_barrier);
        c.has_writer = true;
        c.writer = static_cast<std::uint16_t>(number(t));
        c.written_at = t.since_warp_barrier;
        c.was_atomic = atomic;
    }

    static void note_reader(cell& c, accessor const& t) {
        std::uint32_t lane = 1u << t.lane;
        if (c.readers != 0 && c.reader_warp != t.warp) {
            c.readers_of_two_warps = true;
            return;
        }
        c.readers = c.readers != 0 && c.read_at == t.since_warp_barrier ? c.readers | lane : lane;
        c.reader_warp = t.warp;
        c.read_at = t.since_warp_barrier;
    }

    static unsigned lowest(std::uint32_t lanes) {
        unsigned lane = 0;
        while ((lanes >> lane & 1) == 0) ++lane;
        return lane;
    }

    hazard with(unsigned other, hazard h) {
        other_ = other;
        return h;
    }
    hazard with_writer(cell const& c, accessor const& t, hazard h) { return with(c.writer == number(t) ? c.other_writer : c.writer, h); }

    std::vector<cell> cells_;
    unsigned other_ = 0;
};

}  // namespace emulation::detail
