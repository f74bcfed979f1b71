// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "block.hpp"
#include "intrinsics.hpp"

// What kernels reach by PTX on a GPU: products of small matrices by a warp, loads of their fragments, and copies that a thread does not wait for.

namespace emulation {
namespace detail {

inline float bf16_to_float(unsigned bits) { return std::bit_cast<float>((bits & 0xffffu) << 16); }

/// A fragment's two values: the first one is in the lower half.
inline float half_of(unsigned pair, unsigned i) { return bf16_to_float(pair >> 16 * i); }

#if defined(__clang__)
#define EMULATION_UNCHECKED __attribute__((no_sanitize("address", "undefined")))
#else
#define EMULATION_UNCHECKED __attribute__((no_sanitize("address"), no_sanitize("undefined")))
#endif

/// The innermost loops of a product: sanitizers would multiply their time by ten and find nothing in them.
EMULATION_UNCHECKED inline void multiply_add(float (&d)[16][8], float const (&a)[16][16], float const (&b)[16][8]) {
    for (unsigned row = 0; row < 16; ++row) {
        for (unsigned k = 0; k < 16; ++k) {
            for (unsigned column = 0; column < 8; ++column) d[row][column] += a[row][k] * b[k][column];
        }
    }
}

inline void multiply(thread* lanes, unsigned) {
    float a[16][16], b[16][8], d[16][8];
    for (unsigned lane = 0; lane < 32; ++lane) {
        unsigned const* from_a = static_cast<unsigned const*>(lanes[lane].read[0]);
        unsigned const* from_b = static_cast<unsigned const*>(lanes[lane].read[1]);
        float const* from_d = static_cast<float const*>(lanes[lane].written);
        unsigned group = lane / 4, in_group = lane % 4 * 2;
        for (unsigned i = 0; i < 2; ++i) {
            for (unsigned r = 0; r < 4; ++r) a[group + r % 2 * 8][in_group + i + r / 2 * 8] = half_of(from_a[r], i);
            for (unsigned r = 0; r < 2; ++r) b[in_group + i + r * 8][group] = half_of(from_b[r], i);
            for (unsigned r = 0; r < 2; ++r) d[group + r * 8][in_group + i] = from_d[r * 2 + i];
        }
    }
    multiply_add(d, a, b);
    for (unsigned lane = 0; lane < 32; ++lane) {
        float* to_d = static_cast<float*>(lanes[lane].written);
        for (unsigned r = 0; r < 4; ++r) to_d[r] = d[lane / 4 + r / 2 * 8][lane % 4 * 2 + r % 2];
    }
}

/// Lane 8 i + k names row k of matrix i.
template <bool Transposed>
void load_matrices(thread* lanes, unsigned) {
    unwatched own;
    for (unsigned i = 0; i < 4; ++i) {
        std::uint16_t matrix[8][8];
        for (unsigned row = 0; row < 8; ++row) std::memcpy(matrix[row], lanes[i * 8 + row].read[0], sizeof matrix[row]);
        for (unsigned lane = 0; lane < 32; ++lane) {
            unsigned row = lane / 4, column = lane % 4 * 2;
            unsigned low = Transposed ? matrix[column][row] : matrix[row][column];
            unsigned high = Transposed ? matrix[column + 1][row] : matrix[row][column + 1];
            static_cast<unsigned*>(lanes[lane].written)[i] = low | high << 16;
        }
    }
}

/// Reports 16 bytes that are not aligned, or not in the block's shared memory.
inline void require_shared_16(machine& m, thread& t, void const* p, call const& where) {
    auto address = reinterpret_cast<std::uintptr_t>(p);
    auto begin = reinterpret_cast<std::uintptr_t>(m.shared());
    if (address % 16 != 0)
        m.fail([&] { return "thread " + to_string(t.index) + ": an address of " + to_string(where) + " is not aligned to 16 bytes"; });
    if (address < begin || address + 16 > begin + m.shared_bytes()) {
        m.fail([&] { return "thread " + to_string(t.index) + ": an address of " + to_string(where) + " is outside of the block's shared memory"; });
    }
}

inline void load_fragment(unsigned (&r)[4], void const* row, call const& where, machine::exchange load) {
    machine& m = machine::get();
    thread& t = m.self(where.what);
    require_shared_16(m, t, row, where);
    m.note(row, 16, access_kind::read, __builtin_return_address(0));
    t.read[0] = row;
    t.written = r;
    m.meet(t, where, whole_warp, load);
}

/// The copies of the groups before `end` happen now.
inline void copy_until(machine& m, thread& t, unsigned end) {
    std::size_t done = 0;
    for (; done < t.copies.size() && t.copies[done].group < end; ++done) {
        pending_copy& c = t.copies[done];
        if (c.valid && std::memcmp(c.from, c.asked_for.data(), 16) != 0) {
            m.fail([&] {
                return "thread " + to_string(t.index) + ": the source of " + to_string(c.where) + " was written before the copy had been waited for";
            });
        }
        m.note(c.to, 16, access_kind::write, __builtin_return_address(0));
        unwatched own;
        std::memcpy(c.to, c.asked_for.data(), 16);
    }
    t.copies.erase(t.copies.begin(), t.copies.begin() + static_cast<std::ptrdiff_t>(done));
}

}  // namespace detail

/// By a whole warp: d += a b, with d 16 x 8, a 16 x 16 and b 16 x 8, in the layouts of PTX's mma.sync.m16n8k16.row.col.f32.bf16.bf16.f32.
inline void mma_m16n8k16_bf16(float (&d)[4], unsigned const (&a)[4], unsigned const (&b)[2], EMULATION_CALLER) {
    auto& m = detail::machine::get();
    auto& t = m.self("mma_m16n8k16_bf16");
    t.read[0] = a;
    t.read[1] = b;
    t.written = d;
    m.meet(t, EMULATION_CALL("mma_m16n8k16_bf16"), detail::whole_warp, &detail::multiply);
}

/// By a whole warp: four matrices of 8 x 8 values of 16 bits, of which lane 8 i + k names row k of matrix i (PTX's ldmatrix.x4).
inline void ldmatrix_x4(unsigned (&r)[4], void const* row, EMULATION_CALLER) {
    detail::load_fragment(r, row, EMULATION_CALL("ldmatrix_x4"), &detail::load_matrices<false>);
}

/// The same, each matrix transposed (PTX's ldmatrix.x4.trans).
inline void ldmatrix_x4_trans(unsigned (&r)[4], void const* row, EMULATION_CALLER) {
    detail::load_fragment(r, row, EMULATION_CALL("ldmatrix_x4_trans"), &detail::load_matrices<true>);
}

/// Asks for a copy of 16 bytes to shared memory, or of zeros where not valid. Until it is waited for, the bytes of fresh memory lie there.
inline void cp_async_16(void* shared, void const* global, bool valid = true, EMULATION_CALLER) {
    auto& m = detail::machine::get();
    auto& t = m.self("cp_async_16");
    detail::pending_copy c{shared, global, valid, {}, t.copy_group, EMULATION_CALL("cp_async_16")};
    detail::require_shared_16(m, t, shared, c.where);
    if (reinterpret_cast<std::uintptr_t>(global) % 16 != 0) {
        m.fail(
            [&] { return "thread " + detail::to_string(t.index) + ": the source of " + detail::to_string(c.where) + " is not aligned to 16 bytes"; });
    }
    for (detail::pending_copy const& other : t.copies) {
        if (other.to == shared)
            m.fail([&] {
                return "thread " + detail::to_string(t.index) + ": " + detail::to_string(c.where) +
                       " to where an earlier copy has not been waited for";
            });
    }
    if (valid) std::memcpy(c.asked_for.data(), global, 16);
    m.note(shared, 16, detail::access_kind::copy_asked_for, __builtin_return_address(0));
    detail::unwatched own;
    std::memset(shared, order_in_use().unwritten, 16);
    t.copies.push_back(c);
}

/// Ends a group of copies.
inline void cp_async_commit() { ++detail::machine::get().self("cp_async_commit").copy_group; }

/// Waits for the thread's own groups of copies but the last N.
template <int N>
void cp_async_wait() {
    static_assert(N >= 0);
    auto& m = detail::machine::get();
    auto& t = m.self("cp_async_wait");
    if (t.copy_group >= N) detail::copy_until(m, t, t.copy_group - N);
}

}  // namespace emulation
