// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <new>
#include <span>
#include <utility>
#include <vector>

#include "runtime.hpp"

namespace emulation {

/// Device memory of a test.
template <class T>
class buffer {
public:
    /// Nobody has written it.
    explicit buffer(std::size_t n) : size_(n) {
        if (cudaMalloc(&data_, n * sizeof(T)) != cudaSuccess) throw std::bad_alloc();
    }
    explicit buffer(std::span<T const> values) : buffer(values.size()) {
        if (cudaMemcpy(data_, values.data(), values.size_bytes(), cudaMemcpyHostToDevice) != cudaSuccess) throw std::bad_alloc();
    }
    explicit buffer(std::vector<T> const& values) : buffer(std::span<T const>(values)) {}
    ~buffer() { cudaFree(data_); }
    buffer(buffer const&) = delete;
    buffer& operator=(buffer const&) = delete;

    T* data() const { return data_; }
    std::size_t size() const { return size_; }
    /// A copy on the host.
    std::vector<T> values() const {
        std::vector<T> result(size_);
        cudaMemcpy(result.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost);
        return result;
    }

private:
    T* data_ = nullptr;
    std::size_t size_;
};

}  // namespace emulation
