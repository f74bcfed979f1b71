// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <new>
#include <vector>

#include <goldfinch/backend/cpu/executor.hpp>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace goldfinch {

namespace detail {

/// Blocks of weights start on a huge page and ask for huge pages: reading through small ones costs a fifth of the bandwidth, or
/// more, as luck has it.
inline constexpr std::size_t huge_page = std::size_t{2} << 20;

inline std::align_val_t alignment_of(std::size_t bytes) { return std::align_val_t{bytes >= 2 * huge_page ? huge_page : alignment}; }

inline void* allocate(std::size_t bytes) {
    void* const p = ::operator new(bytes, alignment_of(bytes));
#if defined(__linux__)
    if (bytes >= 2 * huge_page) ::madvise(p, bytes / huge_page * huge_page, MADV_HUGEPAGE);  // a wish: where it fails, pages are small
#endif
    return p;
}

inline void deallocate(void* p, std::size_t bytes) noexcept { ::operator delete(p, alignment_of(bytes)); }

}  // namespace detail

/// A std::allocator for `alignment`.
template <class T>
struct aligned_allocator {
    using value_type = T;
    aligned_allocator() = default;
    template <class U>
    constexpr aligned_allocator(aligned_allocator<U> const&) {}
    T* allocate(std::size_t n) {
        if (n > std::size_t(-1) / sizeof(T)) throw std::bad_array_new_length();
        return static_cast<T*>(detail::allocate(n * sizeof(T)));
    }
    void deallocate(T* p, std::size_t n) noexcept { detail::deallocate(p, n * sizeof(T)); }
    friend bool operator==(aligned_allocator const&, aligned_allocator const&) { return true; }
};

/// Owned, copyable, 64-byte aligned memory.
template <class T>
using aligned_vector = std::vector<T, aligned_allocator<T>>;

}  // namespace goldfinch
