// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#include <goldfinch/backend/cuda/driver.hpp>
#include <goldfinch/compiler.hpp>
#include <goldfinch/view.hpp>

namespace goldfinch {

/// Owned memory of a device, zero at first: that of the thread's current device, or of the buffer that it is a copy of.
template <class T>
class cuda_buffer {
    static_assert(std::is_trivially_copyable_v<T>);
    using driver = detail::cuda_driver<>;

public:
    explicit cuda_buffer(std::size_t size = 0) { resize(size); }
    cuda_buffer(cuda_buffer const& other) {
        if (other.size_ == 0) return;
        detail::cuda_device_scope const at(other.device_);
        take(other.size_);
        try {
            driver::copy(data_, other.data_, size_ * sizeof(T));
        } catch (...) {
            driver::free(data_);  // of an object that never was
            throw;
        }
    }
    cuda_buffer(cuda_buffer&& other) noexcept
        : size_(std::exchange(other.size_, 0)), data_(std::exchange(other.data_, nullptr)), device_(other.device_) {}
    cuda_buffer& operator=(cuda_buffer other) noexcept {
        std::swap(size_, other.size_);
        std::swap(data_, other.data_);
        std::swap(device_, other.device_);
        return *this;
    }
    ~cuda_buffer() {
        if (data_ != nullptr) driver::free(data_);
    }

    /// What was in it is lost.
    void resize(std::size_t size) {
        if (data_ != nullptr) driver::free(data_);
        data_ = nullptr, size_ = 0;
        if (size == 0) return;
        take(size);
        driver::clear_fresh(data_, size * sizeof(T));
    }
    std::size_t size() const { return size_; }
    T* data() { return data_; }
    T const* data() const { return data_; }

private:
    void take(std::size_t size) {
        if (size > std::size_t(-1) / sizeof(T)) throw std::bad_array_new_length();
        device_ = driver::device();
        data_ = static_cast<T*>(driver::allocate(size * sizeof(T)));
        size_ = size;
    }

    std::size_t size_ = 0;
    T* data_ = nullptr;
    int device_ = 0;
};

namespace detail {

/// Temporaries of a model at work: a stack of device memory that is kept. The kernels of a stream run in order, recorded ones too, so memory that was released
/// may be given out again while a kernel that reads it is still to run. Where the device has no memory, work says so when it begins; what has begun, and would
/// leave sessions half done, ends with pinned memory of the host, which kernels reach slowly.
class cuda_scratch {
    struct block {
        std::byte* data;
        std::size_t size;
        bool on_host = false;
    };

public:
    static constexpr std::size_t alignment = 256;

    cuda_scratch() = default;
    cuda_scratch(cuda_scratch const&) = delete;
    cuda_scratch& operator=(cuda_scratch const&) = delete;
    ~cuda_scratch() { clear(); }

    /// Before the work of a lease: its first `take` throws cuda_error where the device has no memory, later ones take the host's.
    void begin() {
        if (has_host_memory()) least_ = clear();
        at_ = used_ = 0;
        begun_ = false;
    }
    /// Whether some of it is the host's.
    bool has_host_memory() const {
        return std::any_of(blocks_.begin(), blocks_.end(), [](block const& b) { return b.on_host; });
    }
    /// Uninitialised.
    void* take(std::size_t bytes) {
        bytes = (bytes + alignment - 1) / alignment * alignment;
        while (at_ < blocks_.size() && used_ + bytes > blocks_[at_].size) ++at_, used_ = 0;
        if (at_ == blocks_.size()) add_block(bytes);
        begun_ = true;
        return blocks_[at_].data + std::exchange(used_, used_ + bytes);
    }
    /// Gives back, at its end, all that was taken since it was made.
    class scope {
    public:
        explicit scope(cuda_scratch& of) : of_(of), at_(of.at_), used_(of.used_) {}
        scope(scope const&) = delete;
        scope& operator=(scope const&) = delete;
        ~scope() { of_.release(at_, used_); }
        void* take(std::size_t bytes) const { return of_.take(bytes); }

    private:
        cuda_scratch& of_;
        std::size_t at_, used_;
    };
    /// Whether memory was taken from here.
    bool has(void const* p) const {
        auto const* const byte = static_cast<std::byte const*>(p);
        return std::any_of(blocks_.begin(), blocks_.end(), [&](block const& b) { return byte >= b.data && byte < b.data + b.size; });
    }

private:
    void release(std::size_t at, std::size_t used) noexcept {
        at_ = at, used_ = used;
        // Next time it all fits in one block. Memory of the host, which recorded kernels may still use, stays until work begins.
        if (at_ == 0 && used_ == 0 && blocks_.size() > 1 && !has_host_memory()) least_ = clear();
    }
    GOLDFINCH_COLD void add_block(std::size_t bytes) {
        std::size_t const ample = std::max(bytes, blocks_.empty() ? least_ : 2 * blocks_.back().size);
        blocks_.reserve(blocks_.size() + 1);
        void* p = nullptr;
        block added{nullptr, ample};
        if (!cuda_driver<>::try_allocate(p, ample)) {
            added.size = bytes;
            if (!begun_)
                p = cuda_driver<>::allocate(bytes);
            else if (!cuda_driver<>::try_allocate(p, bytes))
                p = cuda_driver<>::allocate_pinned(bytes), added.on_host = true;
        }
        added.data = static_cast<std::byte*>(p);
        blocks_.push_back(added);
        used_ = 0;
    }
    /// Frees all blocks, which waits for the device. Returns their size.
    std::size_t clear() noexcept {
        std::size_t total = 0;
        for (block const& b : blocks_) total += b.size, b.on_host ? cuda_driver<>::free_pinned(b.data) : cuda_driver<>::free(b.data);
        blocks_.clear();
        at_ = used_ = 0;
        return total;
    }

    std::vector<block> blocks_;
    std::size_t at_ = 0, used_ = 0, least_ = std::size_t{1} << 20;
    bool begun_ = false;
};

}  // namespace detail

/// Where the kernels of a call run and its temporaries lie: a handle, made by cuda_runtime::lease.
struct cuda_executor {
    detail::cuda_scratch* memory = nullptr;
    detail::cuda_recorder* recorder = nullptr;
    std::shared_ptr<void>* cublaslt = nullptr;  ///< the runtime's device::cublaslt, made when it is first used
    int multiprocessors = 1;
    std::size_t most_rebuilt_bytes = 0;  ///< of keys and values that are rebuilt together
    bool batch_invariant = false;  ///< whether products give a row the same bits whatever rows are beside it
};

/// Uninitialised rows in scratch memory, which end with the scope.
template <class Scalar, std::size_t Width>
class cuda_temporary : public sequence<Scalar, Width> {
public:
    cuda_temporary(cuda_executor const& at, std::size_t rows) : memory_(*at.memory) {
        this->data = static_cast<Scalar*>(memory_.take(rows * Width * sizeof(Scalar)));
        this->size = rows;
    }

private:
    detail::cuda_scratch::scope memory_;
};

}  // namespace goldfinch
