// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <vector>

namespace quantize {

/// What a matrix has multiplied.
struct inputs {
    std::size_t rows = 0;
    std::vector<double> magnitudes;  ///< of each channel, summed over all rows
    std::vector<float> sample;       ///< some of the rows, one after another
};

}  // namespace quantize
