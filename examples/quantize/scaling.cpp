// SPDX-License-Identifier: Apache-2.0
#include "scaling.hpp"

#include <algorithm>
#include <cmath>
#include <span>
#include <stdexcept>

#include <Eigen/Core>

namespace quantize {

namespace {

using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using rows = Eigen::Map<matrix const>;

/// A matrix of the model, and some rows that it multiplies.
struct observed_product {
    std::size_t out, in;
    float const* w;
    rows x;  // [n, in]
};

/// The sum of f(the first row, how many) over slabs of the rows of a matrix, on all threads: the same for any number of them.
template <class F>
double sum_over_slabs(gf::cpu_runtime& runtime, std::size_t n_rows, F const& f) {
    constexpr std::size_t slab = 64;
    std::vector<double> sums((n_rows + slab - 1) / slab);
    gf::cpu_runtime::lease const work{runtime};
    gf::parallel(gf::simd<float>(work.executor()), sums.size(),
                 [&](gf::simd<float> const&, std::size_t i) { sums[i] = f(i * slab, std::min(slab, n_rows - i * slab)); });
    double sum = 0;
    for (double const s : sums) sum += s;
    return sum;
}

/// The squares of a matrix's products.
double squares(observed_product const& p, gf::cpu_runtime& runtime) {
    return sum_over_slabs(runtime, p.out, [&](std::size_t first, std::size_t n) {
        return static_cast<double>((p.x * rows(p.w + first * p.in, static_cast<Eigen::Index>(n), static_cast<Eigen::Index>(p.in)).transpose()).squaredNorm());
    });
}

/// The squares of what its products lose where it is rounded after its columns are multiplied by scales.
double squared_error(observed_product const& p, std::vector<double> const& scales, gf::weight_format const& format, gf::cpu_runtime& runtime) {
    return sum_over_slabs(runtime, p.out, [&](std::size_t first, std::size_t n) {
        matrix lost(n, p.in);
        std::vector<double> row(p.in);
        std::vector<std::byte> bytes(gf::row_bytes(format, p.in));
        std::byte* planes[gf::weight_format::most_planes] = {bytes.data(), bytes.data() + format.plane(0, p.in).row_bytes};
        for (std::size_t r = 0; r < n; ++r) {
            float const* const w = p.w + (first + r) * p.in;
            for (std::size_t i = 0; i < p.in; ++i) row[i] = static_cast<double>(w[i]) * scales[i];
            format.encode(row.data(), p.in, planes);
            format.decode(planes, p.in, row.data());
            for (std::size_t i = 0; i < p.in; ++i) lost(static_cast<Eigen::Index>(r), static_cast<Eigen::Index>(i)) = static_cast<float>(row[i] / scales[i]) - w[i];
        }
        return static_cast<double>((p.x * lost.transpose()).squaredNorm());
    });
}

/// magnitude^power, divided by the middle of their range.
std::vector<double> scales_of(std::vector<double> const& magnitudes, double power) {
    double const largest = std::ranges::max(magnitudes);
    std::vector<double> s(magnitudes.size(), 1.0);
    if (largest == 0) return s;
    for (std::size_t i = 0; i < s.size(); ++i) s[i] = std::pow(std::max(magnitudes[i], 1e-4 * largest), power);
    double const middle = std::sqrt(std::ranges::max(s) * std::ranges::min(s));
    for (double& value : s) value /= middle;
    return s;
}

/// Multiplies the rows of a tensor [n, ...] by factors.
void multiply_rows(tensor& t, std::size_t n, auto const& factor) {
    std::size_t const width = t.values.size() / n;
    for (std::size_t i = 0; i < t.values.size(); ++i) t.values[i] = static_cast<float>(t.values[i] * factor(i / width));
}

/// Multiplies the columns of a tensor by factors.
void multiply_columns(tensor& t, auto const& factor) {
    for (std::size_t i = 0; i < t.values.size(); ++i) t.values[i] = static_cast<float>(t.values[i] * factor(i % t.shape.back()));
}

}  // namespace

tensors copies(std::vector<gf::weight_tensor> const& weights) {
    tensors result;
    for (gf::weight_tensor const& w : weights) {
        if (w.transposed || w.format->name() != "F32") throw std::invalid_argument(w.name + ": is not kept in float32, row after row");
        std::size_t size = 1;
        for (std::size_t const extent : w.shape) size *= extent;
        auto const* const values = static_cast<float const*>(w.data);
        result[w.name] = {w.shape, {values, values + size}};
    }
    return result;
}

void write(std::filesystem::path const& path, tensors const& weights, std::map<std::string, std::string> const& metadata) {
    std::vector<gf::output_tensor> written;
    for (auto const& [name, t] : weights) written.push_back({name, gf::dtype::f32, {t.shape.begin(), t.shape.end()}, std::as_bytes(std::span(t.values))});
    gf::write_safetensors(path, metadata, written);
}

std::vector<shared_input> shared_inputs(tensors const& weights) {
    std::vector<shared_input> result;
    auto const add = [&](std::string const& at, std::vector<std::string> const& matrices, std::vector<std::string> const& loras, std::vector<std::string> const& makers,
                         bool squared = false) {
        auto const there = [&](std::vector<std::string> const& names) {
            std::vector<std::string> found;
            for (std::string const& name : names)
                if (weights.contains(at + name)) found.push_back(at + name);
            return found;
        };
        if (shared_input input{there(matrices), there(loras), there(makers), squared}; !input.matrices.empty()) result.push_back(input);
    };
    for (std::size_t layer = 0; weights.contains("blocks." + std::to_string(layer) + ".ln1.weight"); ++layer) {
        std::string const at = "blocks." + std::to_string(layer) + ".";
        add(at, {"att.receptance.weight", "att.key.weight", "att.value.weight", "att.query.weight"},
            {"att.time_maa_w1", "att.time_decay_w1", "att.time_value2_w1", "att.time_maa_q_w1"}, {"ln1.weight", "ln1.bias"});
        add(at, {"att.output.weight"}, {}, {"att.ln_x.weight", "att.ln_x.bias"});
        add(at, {"ffn.key.weight", "ffn.receptance.weight"}, {}, {"ln2.weight", "ln2.bias"});
        add(at, {"ffn.value.weight"}, {}, {"ffn.key.weight"}, true);
    }
    add("", {"head.weight"}, {}, {"ln_out.weight", "ln_out.bias"});
    return result;
}

product_errors scale(tensors& weights, std::map<std::string, inputs> const& observed, gf::weight_format const& format, gf::cpu_runtime& runtime,
                     std::function<void(std::size_t done, std::size_t total)> const& on_progress) {
    double before = 0, after = 0, all = 0;
    std::vector<shared_input> const shared = shared_inputs(weights);
    constexpr int steps = 20;
    std::size_t const total = shared.size() * (steps + 1);
    std::size_t done = 0;
    for (shared_input const& input : shared) {
        std::vector<observed_product> products;
        std::vector<double> magnitudes;  // the mean of all matrices' means
        for (std::string const& name : input.matrices) {
            tensor const& w = weights.at(name);
            inputs const& read = observed.at(name);
            std::size_t const out = w.shape.front(), in = w.shape.back();
            products.push_back({out, in, w.values.data(), rows(read.sample.data(), static_cast<Eigen::Index>(read.sample.size() / in), static_cast<Eigen::Index>(in))});
            magnitudes.resize(in);
            for (std::size_t i = 0; i < in; ++i) magnitudes[i] += read.magnitudes[i] / static_cast<double>(read.rows);
            all += squares(products.back(), runtime);
        }

        std::vector<double> best;
        double least = 0;
        for (int step = 0; step <= steps; ++step) {
            std::vector<double> const s = scales_of(magnitudes, static_cast<double>(step) / steps);
            double error = 0;
            for (observed_product const& p : products) error += squared_error(p, s, format, runtime);
            if (step == 0) before += error;
            if (step == 0 || error < least) least = error, best = s;
            on_progress(++done, total);
        }
        after += least;

        for (std::string const& name : input.makers)
            multiply_rows(weights.at(name), best.size(), [&](std::size_t i) { return 1 / (input.squared ? std::sqrt(best[i]) : best[i]); });
        for (std::string const& name : input.loras) multiply_rows(weights.at(name), best.size(), [&](std::size_t i) { return best[i]; });
        for (std::string const& name : input.matrices) multiply_columns(weights.at(name), [&](std::size_t i) { return best[i]; });
    }
    return {before / all, after / all};
}

}  // namespace quantize
