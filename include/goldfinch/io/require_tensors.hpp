// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
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
template <class OnDemand = void>
bool same_shape(std::vector<std::uint64_t> const& a, std::vector<std::uint64_t> const& b) {
    auto i = a.begin(), j = b.begin();
    while (a.end() - i > b.end() - j && *i == 1) ++i;
    while (b.end() - j > a.end() - i && *j == 1) ++j;
    return std::equal(i, a.end(), j, b.end());
}

/// One kind of problems, to be listed: a line each, of which the first twenty are shown.
class problem_list {
public:
    GOLDFINCH_COLD void add(pieces line) {
        if (++count_ <= most) append(lines_, {"\n    ", message(line)});
    }
    bool empty() const { return count_ == 0; }

    /// "\n  missing tensors (30):" and the lines; nothing where there are none.
    GOLDFINCH_COLD std::string text(char const* title) const {
        if (empty()) return "";
        std::string const more = count_ > most ? message({"\n    ... and ", count_ - most, " more"}) : "";
        return message({"\n  ", title, " (", count_, "):", lines_, more});
    }

private:
    static constexpr std::size_t most = 20;
    std::string lines_;
    std::size_t count_ = 0;
};

/// Notes what is wrong with a tensor that is there.
template <class OnDemand = void>
void check_tensor(stored_tensor const& found, std::vector<std::uint64_t> const& expected, problem_list& problems) {
    if (!same_shape(found.shape, expected)) {
        bool const transposed = found.shape.size() == 2 && expected.size() == 2 && found.shape[0] == expected[1] && found.shape[1] == expected[0];
        problems.add({found.name, ": expected ", shape_text(expected), ", found ", shape_text(found.shape), transposed ? ", which is transposed" : "",
                      at_byte(found.offset)});
    } else if (found.type > dtype::packed) {
        problems.add({found.name, ": expected floating point (F64, F32, F16 or BF16) or packed integers, found ", found.type_name, at_byte(found.offset)});
    }
}

/// Notes the config fields in which the file differs from the type.
template <class OnDemand = void>
void check_config(inferred const& file, config const& wanted, problem_list& problems) {
    config const whole = with_defaults(wanted);
    for (config_field const& field : config_fields)
        if (contains(file.told, field.name) && field_value(whole, field) != field_value(file.cfg, field))
            problems.add({field.name, ": this model's type has ", field_text(whole, field), ", the file ", field_text(file.cfg, field)});
}

}  // namespace io

/// Holds a checkpoint to what a model of config `wanted` needs. Throws one load_error that lists every missing, unexpected and
/// mis-shaped tensor and names the config fields that disagree; also where all tensors fit but the config that the file
/// carries in its metadata is another.
template <class OnDemand = void>
void require_tensors(checkpoint const& file, std::vector<expected_tensor> const& expected, config const& wanted) {
    io::problem_list missing, unexpected, wrong, fields;
    auto const names = io::sorted_by_name(expected);
    for (expected_tensor const& e : expected) {
        if (stored_tensor const* const found = file.find(e.name))
            io::check_tensor(*found, e.shape, wrong);
        else
            missing.add({e.name, " ", io::shape_text(e.shape)});
    }
    for (stored_tensor const& t : file.tensors) {
        if (!io::find(names, t.name)) unexpected.add({io::escaped(t.name), " ", t.type_name, " ", io::shape_text(t.shape), io::at_byte(t.offset)});
    }

    bool const tensors_fit = missing.empty() && unexpected.empty() && wrong.empty();
    bool const carries_config = config_from_metadata(file.metadata, file.path).has_value();
    if (tensors_fit && !carries_config) return;
    std::string note;
    try {
        io::check_config(infer_config(file), wanted, fields);
    } catch (load_error const& e) {
        note = detail::message({"\n  ", e.what()});
    }
    if (tensors_fit && fields.empty() && note.empty()) return;
    io::fail(file.path, {"does not fit this model's type", note, fields.text("config fields that disagree"), missing.text("missing tensors"),
                         unexpected.text("unexpected tensors"), wrong.text("tensors of another shape or type")});
}

}  // namespace goldfinch
