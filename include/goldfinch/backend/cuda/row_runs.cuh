// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <goldfinch/backend/cuda/device.cuh>
#include <goldfinch/backend/cuda/kernels.hpp>

namespace goldfinch::detail::device {

/// Rows that a launch reads from different memory, as pages are, a run from each, and writes one behind another.
template <class From>
struct row_runs {
    static constexpr unsigned most = 32;
    unsigned size = 0, padding = 0;
    From from[most] = {};
    unsigned end[most] = {};  ///< of each run, a row of y
    cuda_rows<float> y = {};

    bool takes(cuda_rows<float> const& next) const { return size < most && next.data == y[y.size] && next.stride == y.stride && next.width == y.width; }
    void add(From const& run, cuda_rows<float> const& to) {
        y = {size > 0 ? y.data : to.data, y.size + to.size, to.stride, to.width};
        from[size] = run, end[size] = static_cast<unsigned>(y.size);
        ++size;
    }
    /// The run of row t, which becomes the row's number in it.
    __device__ From const& run_of(unsigned& t) const {
        unsigned run = 0;
        while (t >= end[run]) ++run;
        if (run > 0) t -= end[run - 1];
        return from[run];
    }
};

}  // namespace goldfinch::detail::device
