// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <goldfinch/config.hpp>
#include <goldfinch/error.hpp>
#include <goldfinch/io/bytes.hpp>
#include <goldfinch/io/infer_config.hpp>
#include <goldfinch/io/metadata.hpp>
#include <goldfinch/io/stored_tensor.hpp>

namespace goldfinch {

/// A tensor that a model needs.
struct expected_tensor {
    std::string name;
    std::vector<std::uint64_t> shape;
};

namespace io {

/// Whether two shapes are the same but for leading ones: time_maa_* may be [1, 1, D] or [D].
inline bool same_shape(std::span<std::uint64_t const> a, std::span<std::uint64_t const> b) {
    auto const trimmed = [](std::span<std::uint64_t const> s) {
        while (!s.empty() && s.front() == 1) s = s.subspan(1);
        return s;
    };
    return std::ranges::equal(trimmed(a), trimmed(b));
}

/// What is wrong with a tensor that is there, as a line of a list; empty where nothing is.
inline std::string tensor_problem(stored_tensor const& found, std::vector<std::uint64_t> const& expected) {
    if (!same_shape(found.shape, expected)) {
        bool const transposed = found.shape.size() == 2 && expected.size() == 2 && found.shape[0] == expected[1] && found.shape[1] == expected[0];
        return found.name + ": expected " + shape_text(expected) + ", found " + shape_text(found.shape) +
               (transposed ? ", which is transposed" : "") + at_byte(found.offset);
    }
    if (found.type == dtype::other)
        return found.name + ": expected floating point (F64, F32, F16 or BF16), found " + found.type_name + at_byte(found.offset);
    return "";
}

/// The config fields in which the file differs from the type, a line each.
inline std::vector<std::string> config_differences(inferred const& file, config const& wanted) {
    std::vector<std::string> result;
    for (config_field const& field : config_fields) {
        if (std::ranges::find(file.told, field.name) == file.told.end()) continue;
        std::string const here = field_text(with_defaults(wanted), field), there = field_text(file.cfg, field);
        if (here != there) result.push_back(std::string(field.name) + ": this model's type has " + here + ", the file " + there);
    }
    return result;
}

/// "\n  missing (30):" and a line each, of which the first twenty are shown.
inline std::string problem_list(std::string_view title, std::vector<std::string> const& lines) {
    constexpr std::size_t most = 20;
    if (lines.empty()) return "";
    std::string result = "\n  " + std::string(title) + " (" + std::to_string(lines.size()) + "):";
    for (std::size_t i = 0; i < std::min(most, lines.size()); ++i) result += "\n    " + lines[i];
    if (lines.size() > most) result += "\n    ... and " + std::to_string(lines.size() - most) + " more";
    return result;
}

}  // namespace io

/// Holds a checkpoint to what a model of config `wanted` needs. Throws one load_error that lists every missing, unexpected and
/// mis-shaped tensor and names the config fields that disagree; also where all tensors fit but the config that the file
/// carries in its metadata is another.
inline void require_tensors(checkpoint const& file, std::span<expected_tensor const> expected, config const& wanted) {
    std::vector<std::string> missing, unexpected, wrong, fields;
    std::map<std::string_view, expected_tensor const*> wanted_names;
    for (expected_tensor const& e : expected) {
        wanted_names.emplace(e.name, &e);
        stored_tensor const* const found = file.find(e.name);
        if (!found) {
            missing.push_back(e.name + " " + io::shape_text(e.shape));
        } else if (std::string problem = io::tensor_problem(*found, e.shape); !problem.empty()) {
            wrong.push_back(std::move(problem));
        }
    }
    for (stored_tensor const& t : file.tensors) {
        if (wanted_names.contains(t.name)) continue;
        std::string const name = io::in_quotes(t.name);
        unexpected.push_back(name.substr(1, name.size() - 2) + " " + t.type_name + " " + io::shape_text(t.shape) + io::at_byte(t.offset));
    }

    bool const tensors_fit = missing.empty() && unexpected.empty() && wrong.empty();
    bool const carries_config = config_from_metadata(file.metadata, file.path).has_value();
    if (tensors_fit && !carries_config) return;
    std::string note;
    try {
        fields = io::config_differences(infer_config(file), wanted);
    } catch (load_error const& e) {
        note = std::string("\n  ") + e.what();
    }
    if (tensors_fit && fields.empty() && note.empty()) return;
    io::fail(file.path, "does not fit this model's type" + note + io::problem_list("config fields that disagree", fields) +
                            io::problem_list("missing tensors", missing) + io::problem_list("unexpected tensors", unexpected) +
                            io::problem_list("tensors of another shape or type", wrong));
}

}  // namespace goldfinch
