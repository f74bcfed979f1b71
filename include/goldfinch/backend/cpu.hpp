// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <type_traits>

#include <goldfinch/backend/cpu/memory.hpp>
#include <goldfinch/backend/cpu/runtime.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/view.hpp>

namespace goldfinch {

/// What the CPU backends share: memory, threads and temporaries.
struct cpu_backend : cpu_executor {
    using runtime = cpu_runtime;
    /// Owned memory, zero at first; a copy is its own.
    template <class T>
    using buffer = aligned_vector<T>;
    /// Whether memory of the backend is memory of the host, so that a mapped file can be used where it lies.
    static constexpr bool on_host = true;
    /// Bytes of the rows that keys and values are made from which a run through the GOLD blocks keeps for all of them; the rest is made again for each.
    static constexpr std::size_t most_kept_bytes = std::size_t{256} << 20;
    static constexpr bool keeps_rebuilt = true;
    static constexpr std::size_t tokens_a_pass = 256;     ///< enough for matrix products, few enough to bound temporaries
    static constexpr std::size_t most_rebuilt_bytes = 0;  ///< a tile is rebuilt by the thread that attends to it

    explicit cpu_backend(cpu_executor const& at) : cpu_executor(at) {}

    /// Bytes from the host to memory of the backend, and back; and zeros.
    static void upload(void* to, void const* host, std::size_t bytes) { copy_bytes(to, host, bytes); }
    static void download(void const* from, void* host, std::size_t bytes) { copy_bytes(host, from, bytes); }
    static void clear(void* to, std::size_t bytes) {
        if (bytes > 0) std::memset(to, 0, bytes);
    }

private:
    static void copy_bytes(void* to, void const* from, std::size_t bytes) {
        if (bytes > 0) std::memcpy(to, from, bytes);
    }
};

/// The same backend, whose products give a row the same bits whatever rows are beside it, without the rounding that rounds_few allows.
template <class Backend>
requires(std::is_base_of_v<cpu_backend, Backend>) Backend batch_invariant(Backend const& be) {
    Backend result = be;
    result.cpu_executor::batch_invariant = true;
    result.cpu_executor::rounds_few = false;
    return result;
}

/// The same backend, whose products may round few rows as they round many.
template <class Backend>
requires(std::is_base_of_v<cpu_backend, Backend>) Backend rounds_few(Backend const& be) {
    Backend result = be;
    result.cpu_executor::rounds_few = true;
    return result;
}

/// Token ids in memory of the backend, which is the host's.
inline std::span<token const> upload(cpu_backend const&, std::span<token const> tokens) { return tokens; }

/// Uninitialised rows in scratch memory, which end with the scope.
template <class Scalar, std::size_t Width>
class cpu_temporary : public sequence<Scalar, Width> {
public:
    cpu_temporary(cpu_executor const& at, std::size_t rows) : at_(at), top_(at.call->top(at)) {
        this->data = static_cast<Scalar*>(at.call->take(at, rows * Width * sizeof(Scalar)));
        this->size = rows;
    }
    cpu_temporary(cpu_temporary const&) = delete;
    cpu_temporary& operator=(cpu_temporary const&) = delete;
    ~cpu_temporary() { at_.call->release(at_, top_); }

private:
    cpu_executor const& at_;
    cpu_executor::mark top_;
};

template <std::size_t Width, class Backend>
requires(std::is_base_of_v<cpu_backend, Backend>) cpu_temporary<typename Backend::scalar, Width> temporary(Backend const& be, std::size_t rows) {
    return {be, rows};
}
/// The same of another type.
template <class T, std::size_t Width>
cpu_temporary<T, Width> temporary_of(cpu_backend const& be, std::size_t rows) {
    return {be, rows};
}

}  // namespace goldfinch
