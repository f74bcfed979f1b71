// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

#include <goldfinch/backend/cuda/driver.hpp>

namespace goldfinch::detail {

/// Copies of bytes that are not in pinned memory, such as those of a mapped file, to the thread's current device, through two pieces of pinned memory: while
/// one goes to the device, the next is read. Throws cuda_error.
class cuda_uploads {
    using driver = cuda_driver<>;

public:
    explicit cuda_uploads(std::size_t piece_bytes = std::size_t{8} << 20) : piece_bytes_(piece_bytes) {}
    cuda_uploads(cuda_uploads const&) = delete;
    cuda_uploads& operator=(cuda_uploads const&) = delete;
    ~cuda_uploads() {
        for (piece& p : pieces_) {
            if (p.stream != nullptr) driver::wait(p.stream), driver::free_stream(p.stream);
            if (p.pinned != nullptr) driver::free_pinned(p.pinned);
        }
    }

    /// The host's bytes are free when the call returns.
    void copy(void* to, void const* host, std::size_t bytes) {
        for (std::size_t at = 0; at < bytes; at += piece_bytes_) {
            std::size_t const n = std::min(piece_bytes_, bytes - at);
            piece& p = pieces_[next_++ % pieces_.size()];
            if (p.stream == nullptr) p.stream = driver::make_stream();
            if (p.pinned == nullptr) p.pinned = static_cast<std::byte*>(driver::allocate_pinned(piece_bytes_));
            driver::synchronize(p.stream);
            std::memcpy(p.pinned, static_cast<std::byte const*>(host) + at, n);
            driver::transfer(p.stream, {static_cast<std::byte*>(to) + at, p.pinned, n});
        }
    }
    /// Waits until the device has all of it.
    void finish() {
        for (piece const& p : pieces_)
            if (p.stream != nullptr) driver::synchronize(p.stream);
    }

private:
    struct piece {
        std::byte* pinned = nullptr;
        void* stream = nullptr;
    };

    std::size_t piece_bytes_, next_ = 0;
    std::array<piece, 2> pieces_;
};

}  // namespace goldfinch::detail
