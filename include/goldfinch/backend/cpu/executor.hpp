// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <goldfinch/compiler.hpp>

namespace goldfinch {

class thread_pool;
class scratch;

/// What this library allocates starts on a cache line, whatever the build flags.
inline constexpr std::size_t alignment = 64;

/// Where CPU code runs and puts its temporaries: a handle, made by cpu_runtime::lease. Threads and memory are reached through
/// pointers to functions, so that kernels compiled for another instruction set than the rest of the program instantiate no code
/// that both could share.
struct cpu_executor {
    /// Calls call(body, executor, index) for every index below `count`, each once, in any order. The executor that the body gets
    /// works alone and has scratch memory of its own.
    using body_function = void (*)(void const* body, cpu_executor const& at, std::size_t index);

    /// How much of a worker's scratch memory was in use.
    struct mark {
        void* block;
        std::size_t used;
    };
    struct functions {
        void (*share)(cpu_executor const& at, std::size_t count, void const* body, body_function call);
        void* (*take)(cpu_executor const& at, std::size_t bytes);  ///< uninitialised, aligned to `alignment`, until it is released
        mark (*top)(cpu_executor const& at);
        void (*release)(cpu_executor const& at, mark m) noexcept;  ///< everything taken since, last in first out
    };

    functions const* call = nullptr;
    thread_pool* pool = nullptr;  ///< nullptr: works alone
    scratch* memory = nullptr;    ///< one a worker of the pool
    std::size_t worker = 0;       ///< whose memory is ours
    std::size_t threads = 1;      ///< workers of the pool
    bool batch_invariant = false;  ///< whether products give a row the same bits whatever rows are beside it
    bool rounds_few = false;       ///< whether products may round few rows as they round many

    /// The same, without the pool: for work that is too short to share.
    GOLDFINCH_INLINE cpu_executor alone() const { return {call, nullptr, memory, worker, 1, batch_invariant, rounds_few}; }
};

}  // namespace goldfinch
