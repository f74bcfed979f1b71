// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <goldfinch/goldfinch.hpp>

#include "inputs.hpp"

namespace quantize {

namespace gf = goldfinch;

/// The weights of a model, in float32.
struct tensor {
    std::vector<std::size_t> shape;
    std::vector<float> values;
};
using tensors = std::map<std::string, tensor>;

/// Copies of weights that are kept in float32, row after row. Throws std::invalid_argument for others.
tensors copies(std::vector<gf::weight_tensor> const& weights);

/// Writes a checkpoint of them. Throws gf::load_error.
void write(std::filesystem::path const& path, tensors const& weights, std::map<std::string, std::string> const& metadata);

/// What several matrices read, and what makes it: its channels can be divided by scales where the matrices' columns are multiplied by them.
struct shared_input {
    std::vector<std::string> matrices;  ///< [out, in]
    std::vector<std::string> loras;     ///< [in, rank], read the same
    std::vector<std::string> makers;    ///< [in] or [in, ...]
    bool squared;                       ///< on the way from the makers
};

/// Those of a model of Finch-C2 and GOLD. The matrices of TokenCat are in none: what they read, others read, too.
std::vector<shared_input> shared_inputs(tensors const& weights);

/// Squared errors of rounded matrices' products, as a fraction of the products' squares.
struct product_errors {
    double before, after;
};

/// Scales the channels of shared inputs so that matrices rounded to a format lose less of their products with observed rows (AWQ, arXiv 2306.00978): a channel's
/// scale is a power of its mean magnitude, the same power for all channels of an input, the best of 21 from 0 to 1. The model computes what it did.
product_errors scale(tensors& weights, std::map<std::string, inputs> const& observed, gf::weight_format const& format, gf::cpu_runtime& runtime,
                     std::function<void(std::size_t done, std::size_t total)> const& on_progress);

}  // namespace quantize
