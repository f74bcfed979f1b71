// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <goldfinch/config.hpp>
#include <goldfinch/error.hpp>
#include <goldfinch/io/bytes.hpp>
#include <goldfinch/io/checkpoint.hpp>
#include <goldfinch/io/infer_config.hpp>
#include <goldfinch/io/metadata.hpp>
#include <goldfinch/io/stored_tensor.hpp>

namespace goldfinch {

namespace io {

/// 1445257216 as "1,445,257,216".
inline std::string grouped(std::uint64_t n) {
    std::string text = std::to_string(n);
    for (std::size_t i = text.size(); i > 3; i -= 3) text.insert(i - 3, 1, ',');
    return text;
}

/// "234 tensors, 1,445,257,216 parameters (BF16)", the type of most bytes first.
inline std::string contents_text(checkpoint const& file) {
    std::map<std::string_view, std::uint64_t> bytes;
    std::uint64_t elements = 0;
    for (stored_tensor const& t : file.tensors) {
        bytes[t.type_name] += t.bytes.size();
        elements += byte_count(t.shape, 1).value_or(0);
    }
    std::string types;
    while (!bytes.empty()) {
        auto const most = std::ranges::max_element(bytes, {}, [](auto const& b) { return b.second; });
        types += (types.empty() ? "" : ", ") + std::string(most->first);
        bytes.erase(most);
    }
    return grouped(file.tensors.size()) + " tensors, " + grouped(elements) + " parameters (" + (types.empty() ? "none" : types) + ")";
}

/// The C++ type for the element type that most of the file's bytes have.
inline std::string_view main_weight(checkpoint const& file) {
    std::map<dtype, std::uint64_t> bytes;
    for (stored_tensor const& t : file.tensors) bytes[t.type] += t.bytes.size();
    if (bytes[dtype::bf16] >= bytes[dtype::f16] && bytes[dtype::bf16] >= bytes[dtype::f32] + bytes[dtype::f64]) return "goldfinch::bf16";
    return bytes[dtype::f16] >= bytes[dtype::f32] + bytes[dtype::f64] ? "goldfinch::half" : "float";
}

/// "4 * finch_c2, 2 * gold"
inline std::string blocks_text(inferred const& model) {
    std::string result;
    for (auto block = model.blocks.begin(); block != model.blocks.end();) {
        auto const end = std::find_if(block, model.blocks.end(), [&](std::string const& b) { return b != *block; });
        result += (result.empty() ? "" : ", ") + std::to_string(end - block) + " * " + (block->empty() ? "(a time mix unknown here)" : *block);
        block = end;
    }
    return result;
}

/// The definition of a config and a model type to paste: fields that are not the default only, but always the four that name a shape.
inline std::string cpp_text(checkpoint const& file, inferred const& model) {
    constexpr std::string_view always[] = {"vocab_size", "n_layer", "n_embd", "head_size"};
    config const& c = model.cfg;
    config const plain = with_defaults({.vocab_size = c.vocab_size, .n_layer = c.n_layer, .n_embd = c.n_embd, .head_size = c.head_size});
    std::string fields;
    for (config_field const& field : config_fields) {
        bool const shown = std::ranges::find(always, field.name) != std::end(always) || field_text(c, field) != field_text(plain, field);
        if (shown) fields += (fields.empty() ? "." : ", .") + std::string(field.name) + " = " + field_text(c, field);
    }
    std::string const weight(main_weight(file));
    std::string stack;
    if (model.stack.empty()) {
        stack = ", goldfinch::compressed_keys<>, goldfinch::stack</* its blocks: no named stack fits */>";
    } else if (model.stack != "goldfinch") {
        stack = ", goldfinch::compressed_keys<>, goldfinch::" + model.stack + "_stack<my_config>";
    }
    return "inline constexpr goldfinch::config my_config = goldfinch::checked({" + fields +
           "});\nusing my_model = goldfinch::model<my_config, goldfinch::simd<" + weight + ">" + stack + ">;\n";
}

/// As inspect, of a checkpoint already read.
inline std::string describe(checkpoint const& file) {
    inferred model;
    try {
        model = infer_config(file);
    } catch (load_error const& e) {
        std::string first;
        for (stored_tensor const& t : std::span(file.tensors).first(std::min<std::size_t>(5, file.tensors.size()))) {
            first += (first.empty() ? " such as " : ", ") + in_quotes(t.name) + " " + shape_text(t.shape);
        }
        throw load_error(std::string(e.what()) + "\n  it holds " + contents_text(file) + first);
    }
    std::string text = file.path.string() + "\n  " + file.format + ", " + grouped(file.file_size) + " bytes\n  " + contents_text(file) + "\n";
    text += "  blocks: " + blocks_text(model) + "\n";
    if (auto const stack = file.metadata.find("stack"); stack != file.metadata.end()) {
        std::string const shown = in_quotes(stack->second);
        text += "  stack: " + shown.substr(1, shown.size() - 2) + "\n";
    }
    text += std::string("  config, ") + (model.from_metadata ? "from the file's metadata" : "from the tensors' names and shapes") + ":\n";
    for (config_field const& field : config_fields) {
        auto const listed = [&](std::vector<std::string> const& list) { return std::ranges::find(list, field.name) != list.end(); };
        std::string_view const note = listed(model.unknown) ? "   (not in the file)" : listed(model.told) ? "" : "   (not used by these blocks)";
        text += "    " + std::string(field.name) + " = " + field_text(model.cfg, field) + std::string(note) + "\n";
    }
    text += "\n" + cpp_text(file, model);
    if (model.unknown.empty()) return text;
    text += "\nWhat the file cannot tell: ";
    for (std::string const& field : model.unknown) text += (&field == &model.unknown.front() ? "" : ", ") + field;
    return text + ". The values above are the defaults; set what your model was trained with.\n";
}

}  // namespace io

/// What a checkpoint holds, for people: the file's kind and size, its tensors, the config, the C++ type to paste, and what the
/// file cannot tell. Throws load_error where it is no model, saying what it holds.
inline std::string inspect(std::filesystem::path const& path) { return io::describe(read_checkpoint(path)); }

}  // namespace goldfinch
