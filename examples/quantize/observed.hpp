// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include <goldfinch/goldfinch.hpp>

#include "inputs.hpp"

namespace quantize {

namespace gf = goldfinch;

/// While it lives, inputs of some matrices of one model with `observed` weights are noted: of one model at a time.
class observation {
public:
    /// Keeps every so many of the rows that each of the matrices of these names reads.
    observation(std::vector<gf::weight_tensor> const& weights, std::vector<std::string> const& names, std::size_t every) : every_(every) {
        for (gf::weight_tensor const& w : weights)
            if (std::ranges::find(names, w.name) != names.end()) {
                of_[w.data] = &named[w.name];
                named[w.name].magnitudes.resize(w.shape.back());
            }
        current = this;
    }
    observation(observation const&) = delete;
    observation& operator=(observation const&) = delete;
    ~observation() { current = nullptr; }

    void add(void const* matrix, float const* row, std::size_t width) {
        std::lock_guard const lock(mutex_);
        auto const found = of_.find(matrix);
        if (found == of_.end()) return;
        inputs& to = *found->second;
        for (std::size_t i = 0; i < width; ++i) to.magnitudes[i] += std::abs(static_cast<double>(row[i]));
        if (to.rows++ % every_ == 0) to.sample.insert(to.sample.end(), row, row + width);
    }

    std::map<std::string, inputs> named;
    static inline observation* current = nullptr;

private:
    std::size_t every_;
    std::map<void const*, inputs*> of_;
    std::mutex mutex_;
};

/// A weight format: float32, whose products show what they read to an observation.
struct observed {};

template <std::size_t Out, std::size_t In>
struct observed_matrix : gf::matrix<float const, Out, In> {};

template <std::size_t Out, std::size_t In>
void linear(gf::simd<observed> const& be, observed_matrix<Out, In> w, gf::as<gf::sequence<float const, In>> x, gf::as<gf::sequence<float, Out>> y) {
    if (observation* const to = observation::current)
        for (std::size_t t = 0; t < x.size; ++t) to->add(w.data, x[t], In);
    linear(be, gf::matrix<float const, Out, In>(w), x, y);
}

}  // namespace quantize

template <>
struct goldfinch::detail::simd_format<quantize::observed> {
    using plain = float;
    template <std::size_t Out, std::size_t In>
    using view = quantize::observed_matrix<Out, In>;
};
