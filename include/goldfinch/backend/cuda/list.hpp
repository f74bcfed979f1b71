// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include <goldfinch/backend/cuda/driver.hpp>
#include <goldfinch/backend/cuda/memory.hpp>
#include <goldfinch/backend/cuda/recorder.hpp>

namespace goldfinch::detail {

/// Elements of a host's list on the device, until the end of the scope: in scratch memory, or where recorded launches find them.
template <class T>
class cuda_list {
public:
    cuda_list(cuda_executor const& at, std::span<T const> list) : memory_(*at.memory) {
        if (at.recorder->recording()) {
            data_ = static_cast<T const*>(at.recorder->stage(list.data(), list.size_bytes()));
            return;
        }
        void* const data = memory_.take(list.size_bytes());
        data_ = static_cast<T const*>(data);
        cuda_driver<>::upload(data, list.data(), list.size_bytes());
    }
    T const* data() const { return data_; }

private:
    cuda_scratch::scope memory_;
    T const* data_;
};

}  // namespace goldfinch::detail
