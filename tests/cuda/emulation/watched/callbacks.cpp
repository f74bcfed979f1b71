// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <cuda/emulation.hpp>

// What files that are compiled with -fsanitize=thread call at each access to memory: here, instead of ThreadSanitizer, the watch over shared memory,
// which knows a block's barriers. This file itself is compiled without.

using emulation::detail::access_kind;

namespace {

void note(void const* p, std::size_t size, access_kind kind, void const* from) {
    auto begin = static_cast<std::byte const*>(p);
    if (begin + size <= emulation::detail::watched_begin || begin >= emulation::detail::watched_end) return;
    emulation::detail::machine::get().note(p, size, kind, from);
}

}  // namespace

extern "C" {

void __tsan_init() { emulation::detail::memory_watch::in_use() = true; }
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}

#define EMULATION_ACCESS(name, size, kind) \
    void __tsan_##name(void* p) { note(p, size, access_kind::kind, __builtin_return_address(0)); }
#define EMULATION_ACCESSES(size)                       \
    EMULATION_ACCESS(read##size, size, read)           \
    EMULATION_ACCESS(write##size, size, write)         \
    EMULATION_ACCESS(unaligned_read##size, size, read) \
    EMULATION_ACCESS(unaligned_write##size, size, write)
EMULATION_ACCESSES(1)
EMULATION_ACCESSES(2)
EMULATION_ACCESSES(4)
EMULATION_ACCESSES(8)
EMULATION_ACCESSES(16)

void __tsan_read_range(void* p, std::size_t size) { note(p, size, access_kind::read, __builtin_return_address(0)); }
void __tsan_write_range(void* p, std::size_t size) { note(p, size, access_kind::write, __builtin_return_address(0)); }

// Atomic operations of the host's own code: kernels have none but CUDA's.
#define EMULATION_HOST_ATOMICS(bits, type)                                                                                     \
    type __tsan_atomic##bits##_load(type const volatile* p, int) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }              \
    void __tsan_atomic##bits##_store(type volatile* p, type v, int) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }              \
    type __tsan_atomic##bits##_exchange(type volatile* p, type v, int) { return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST); } \
    type __tsan_atomic##bits##_fetch_add(type volatile* p, type v, int) { return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST); } \
    type __tsan_atomic##bits##_fetch_sub(type volatile* p, type v, int) { return __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST); } \
    type __tsan_atomic##bits##_fetch_and(type volatile* p, type v, int) { return __atomic_fetch_and(p, v, __ATOMIC_SEQ_CST); } \
    type __tsan_atomic##bits##_fetch_or(type volatile* p, type v, int) { return __atomic_fetch_or(p, v, __ATOMIC_SEQ_CST); }   \
    type __tsan_atomic##bits##_fetch_xor(type volatile* p, type v, int) { return __atomic_fetch_xor(p, v, __ATOMIC_SEQ_CST); } \
    int __tsan_atomic##bits##_compare_exchange_strong(type volatile* p, type* expected, type v, int, int) {                    \
        return __atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                         \
    }                                                                                                                          \
    int __tsan_atomic##bits##_compare_exchange_weak(type volatile* p, type* expected, type v, int, int) {                      \
        return __atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                         \
    }                                                                                                                          \
    type __tsan_atomic##bits##_compare_exchange_val(type volatile* p, type expected, type v, int, int) {                       \
        __atomic_compare_exchange_n(p, &expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                               \
        return expected;                                                                                                       \
    }
EMULATION_HOST_ATOMICS(8, std::uint8_t)
EMULATION_HOST_ATOMICS(16, std::uint16_t)
EMULATION_HOST_ATOMICS(32, std::uint32_t)
EMULATION_HOST_ATOMICS(64, std::uint64_t)
void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
void __tsan_atomic_signal_fence(int) {}

}  // extern "C"
