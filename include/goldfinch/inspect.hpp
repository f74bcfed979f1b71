// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <map>
#include <string>
#include <string_view>

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
template <class OnDemand = void>
std::string grouped(std::uint64_t n) {
    std::string text = std::to_string(n);
    for (std::size_t i = text.size(); i > 3; i -= 3) text.insert(i - 3, 1, ',');
    return text;
}

/// "234 tensors, 1,445,257,216 parameters (BF16)", the type of most bytes first.
template <class OnDemand = void>
std::string contents_text(checkpoint const& file) {
    std::map<std::string, std::uint64_t> bytes;
    std::uint64_t elements = 0;
    for (stored_tensor const& t : file.tensors) {
        bytes[t.type_name] += 1 + t.bytes.size() + t.scale.size();  // 1: empty tensors count too
        elements += byte_count(t.shape, 1).value_or(0);
    }
    std::string types;
    while (!bytes.empty()) {
        auto const most = std::max_element(bytes.begin(), bytes.end(), [](auto const& a, auto const& b) { return a.second < b.second; });
        append(types, {types.empty() ? "" : ", ", most->first});
        bytes.erase(most);
    }
    return message({grouped(file.tensors.size()), " tensors, ", grouped(elements), " parameters (", types.empty() ? "none" : types, ")"});
}

/// The C++ type for the element type that most of the file's bytes have.
template <class OnDemand = void>
std::string main_weight(checkpoint const& file) {
    std::uint64_t bf16 = 0, half = 0, wide = 0;
    for (stored_tensor const& t : file.tensors) {
        if (t.type == dtype::packed) return message({"goldfinch::int", t.bits});  // the products' weights, which decide
        if (t.type == dtype::bf16) bf16 += t.bytes.size();
        if (t.type == dtype::f16) half += t.bytes.size();
        if (t.type == dtype::f32 || t.type == dtype::f64) wide += t.bytes.size();
    }
    if (bf16 >= half && bf16 >= wide) return "goldfinch::bf16";
    return half >= wide ? "goldfinch::half" : "float";
}

/// "4 * finch_c2, 2 * gold"
template <class OnDemand = void>
std::string blocks_text(inferred const& model) {
    std::string result;
    for (auto block = model.blocks.begin(); block != model.blocks.end();) {
        auto const end = std::find_if(block, model.blocks.end(), [&](std::string_view b) { return b != *block; });
        append(result, {result.empty() ? "" : ", ", end - block, " * ", block->empty() ? "(a time mix unknown here)" : *block});
        block = end;
    }
    return result;
}

/// The definition of a config and a model type to paste: fields that are not the default only, but always the four that name a shape.
template <class OnDemand = void>
std::string cpp_text(checkpoint const& file, inferred const& model) {
    constexpr std::string_view always[] = {"vocab_size", "n_layer", "n_embd", "head_size"};
    config const& c = model.cfg;
    config const plain = with_defaults({.vocab_size = c.vocab_size, .n_layer = c.n_layer, .n_embd = c.n_embd, .head_size = c.head_size});
    std::string fields;
    for (config_field const& field : config_fields) {
        bool const shown =
            std::find(std::begin(always), std::end(always), field.name) != std::end(always) || field_text(c, field) != field_text(plain, field);
        if (shown) append(fields, {fields.empty() ? "." : ", .", field.name, " = ", field_text(c, field)});
    }
    std::string stack;
    if (model.stack.empty()) {
        stack = ", goldfinch::compressed_keys<>, goldfinch::stack</* its blocks: no named stack fits */>";
    } else if (model.stack != "goldfinch") {
        stack = message({", goldfinch::compressed_keys<>, goldfinch::", model.stack, "_stack<my_config>"});
    }
    return message({"inline constexpr goldfinch::config my_config = goldfinch::checked({", fields,
                    "});\nusing my_model = goldfinch::model<my_config, goldfinch::simd<", main_weight(file), ">", stack, ">;\n"});
}

/// "   (not in the file)": where a field's value comes from, unless that is plain. Metadata that does not count as a config, as it is
/// not whole, may still say something about the field; it is shown where it is not what is printed.
template <class OnDemand = void>
std::string note_text(checkpoint const& file, inferred const& model, config_field const& field) {
    bool const unknown = contains(model.unknown, field.name);
    if (!unknown && !contains(model.told, field.name)) return "   (not used by these blocks)";
    auto const said = file.metadata.find(std::string(field.name));
    if (said == file.metadata.end() || (!unknown && said->second == field_text(model.cfg, field))) return unknown ? "   (not in the file)" : "";
    return message({"   (", unknown ? "not in the tensors; " : "", "the file's metadata says ", in_quotes(said->second), ")"});
}

/// As inspect, of a checkpoint already read.
template <class OnDemand = void>
std::string describe(checkpoint const& file) {
    inferred model;
    try {
        model = infer_config(file);
    } catch (load_error const& e) {
        std::string first;
        for (std::size_t i = 0; i < std::min<std::size_t>(5, file.tensors.size()); ++i) {
            stored_tensor const& t = file.tensors[i];
            append(first, {first.empty() ? " such as " : ", ", in_quotes(t.name), " ", shape_text(t.shape)});
        }
        throw load_error(message({e.what(), "\n  it holds ", contents_text(file), first}));
    }
    std::string text = message({file.path.string(), "\n  ", file.format, ", ", grouped(file.file_size), " bytes\n  ", contents_text(file),
                                "\n  blocks: ", blocks_text(model), "\n"});
    if (std::string const* const stack = stack_from_metadata(file)) append(text, {"  stack: ", escaped(*stack), "\n"});
    append(text, {"  config, ", model.from_metadata ? "from the file's metadata" : "from the tensors' names and shapes", ":\n"});
    for (config_field const& field : config_fields) {
        append(text, {"    ", field.name, " = ", field_text(model.cfg, field), note_text(file, model, field), "\n"});
    }
    append(text, {"\n", cpp_text(file, model)});
    if (model.unknown.empty()) return text;
    text += "\nWhat the tensors cannot tell: ";
    for (std::string_view const& field : model.unknown) append(text, {&field == &model.unknown.front() ? "" : ", ", field});
    return text += ". The values above are the defaults; set what your model was trained with.\n";
}

}  // namespace io

/// What a checkpoint holds, for people: the file's kind and size, its tensors, the config, the C++ type to paste, and what the
/// file cannot tell. Throws load_error where it is no model, saying what it holds.
template <class OnDemand = void>
std::string inspect(std::filesystem::path const& path) {
    return io::describe(read_checkpoint(path));
}

}  // namespace goldfinch
