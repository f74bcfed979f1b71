// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <goldfinch/io/bytes.hpp>
#include <goldfinch/io/json.hpp>
#include <goldfinch/io/order.hpp>
#include <goldfinch/io/output_file.hpp>
#include <goldfinch/io/packed_tensors.hpp>
#include <goldfinch/io/stored_tensor.hpp>
#include <goldfinch/utf8.hpp>

namespace goldfinch {

/// A tensor to write: row-major, contiguous.
struct output_tensor {
    std::string name;
    dtype type = dtype::f32;
    std::vector<std::uint64_t> shape;
    std::span<std::byte const> bytes;  ///< exactly product(shape) elements
};

namespace io {

/// The format's own limit on its JSON header.
inline constexpr std::uint64_t most_header_bytes = 100'000'000;

/// One tensor's entry in the header.
struct safetensors_entry {
    std::string name;
    dtype_info const* type = nullptr;
    std::vector<std::uint64_t> shape;
    std::uint64_t begin = 0, end = 0;  // in the data after the header
};

/// Reads {"dtype": ..., "shape": [...], "data_offsets": [begin, end]}.
template <class OnDemand = void>
safetensors_entry read_safetensors_entry(json_reader<>& json, std::string const& name, std::filesystem::path const& path) {
    safetensors_entry entry;
    entry.name = name;
    auto const wrong = [&](pieces what) { complaint{path, "tensor", name, json.offset()}(what); };
    std::optional<std::vector<std::uint64_t>> shape, offsets;
    auto const integers = [&](std::optional<std::vector<std::uint64_t>>& list, std::size_t most) {
        list.emplace();
        json.array([&] {
            if (list->size() == most) wrong({"has a list of more than ", most, " numbers"});
            list->push_back(json.integer());
        });
    };
    json.object([&](std::string const& key) {
        bool const repeated = (key == "dtype" && entry.type) || (key == "shape" && shape) || (key == "data_offsets" && offsets);
        if (repeated) wrong({"has the key ", in_quotes(key), " twice"});
        if (key == "dtype") {
            std::string const type = json.string();
            entry.type = find_dtype(type);
            if (!entry.type) wrong({"has the unknown dtype ", in_quotes(type), ", expected one such as BF16 or F32"});
        } else if (key == "shape") {
            integers(shape, most_dimensions);
        } else if (key == "data_offsets") {
            integers(offsets, 2);
        } else {
            wrong({"has the unknown key ", in_quotes(key)});
        }
    });
    if (!entry.type || !shape || !offsets) wrong({"has no ", (!entry.type ? "dtype" : !shape ? "shape" : "data_offsets")});
    if (offsets->size() != 2) wrong({"has data_offsets that are no pair"});
    entry.shape = std::move(*shape);
    entry.begin = offsets->front();
    entry.end = offsets->back();
    return entry;
}

/// The tensors must fill the data exactly, and each span must be what dtype and shape say.
template <class OnDemand = void>
void check_safetensors_layout(std::vector<safetensors_entry> const& entries, std::uint64_t data_begin, std::uint64_t data_size,
                              std::filesystem::path const& path) {
    std::vector<place> order;
    order.reserve(entries.size());
    for (safetensors_entry const& e : entries) order.push_back({order.size(), e.name, e.begin, e.end});
    sort(order);
    std::uint64_t filled = 0;
    for (place const& p : order) {
        safetensors_entry const& e = entries[p.index];
        complaint const wrong{path, "tensor", e.name, data_begin + std::min(e.begin, data_size)};
        auto const span = [&] { return message({"[", e.begin, ", ", e.end, ")"}); };
        if (e.begin > e.end) wrong({"has data_offsets in the wrong order: ", span()});
        if (e.end > data_size) wrong({"ends beyond the file: data_offsets ", span(), ", data bytes ", data_size, "; the file may be cut short"});
        auto const expected = byte_count(e.shape, e.type->size);
        if (!expected) wrong({"has a shape whose size overflows: ", shape_text(e.shape)});
        if (*expected != e.end - e.begin) {
            wrong({"has shape ", shape_text(e.shape), " of ", e.type->name, ", which is ", *expected, " bytes, but data_offsets ", span(),
                   ", which is ", e.end - e.begin});
        }
        if (e.begin < filled) wrong({"overlaps the tensor before it: data_offsets ", span(), ", expected ", filled, " or more"});
        if (e.begin > filled) wrong({"leaves a hole before it: data_offsets ", span(), ", expected to start at ", filled});
        filled = e.end;
    }
    if (filled != data_size) fail(path, {"bytes after the last tensor: ", data_size - filled, at_byte(data_begin + filled)});
}

/// Reads a safetensors file from memory; `storage` keeps the bytes alive. Throws load_error for everything that the format
/// does not allow. Source: the format's description at github.com/huggingface/safetensors.
template <class OnDemand = void>
checkpoint read_safetensors(std::span<std::byte const> bytes, std::filesystem::path const& path, std::shared_ptr<void const> storage) {
    byte_reader reader(bytes, path, 0, "the safetensors header");
    auto const header_size = reader.number<std::uint64_t>();
    if (header_size > most_header_bytes) {
        fail(path, {"the safetensors header is said to be ", header_size, " bytes long, at most 100 MB are allowed (byte 0)"});
    }
    std::string_view const header = reader.text(header_size);
    if (!header.starts_with('{')) fail(path, {"the safetensors header does not start with '{' (byte 8)"});

    checkpoint result{.path = path, .tensors = {}, .metadata = {}, .storage = std::move(storage), .format = "safetensors", .file_size = bytes.size()};
    std::vector<safetensors_entry> entries;
    json_reader json(header, path, 8);
    bool has_metadata = false;
    json.object([&](std::string const& name) {
        if (name != "__metadata__") return entries.push_back(read_safetensors_entry(json, name, path));
        if (std::exchange(has_metadata, true)) fail(path, {"the key '__metadata__' twice", at_byte(json.offset())});
        json.object([&](std::string const& key) {
            if (!result.metadata.emplace(key, json.string()).second)
                fail(path, {"the metadata key ", in_quotes(key), " twice", at_byte(json.offset())});
        });
    });
    json.end();

    std::uint64_t const data_begin = reader.offset();
    auto const data = reader.take(reader.left());
    check_safetensors_layout(entries, data_begin, data.size(), path);

    auto const order = sorted_by_name(entries);
    if (place const* const twice = find_twice(order))
        fail(path, {"tensor ", in_quotes(twice->name), " twice", at_byte(data_begin + entries[twice->index].begin)});
    result.tensors.reserve(entries.size());
    for (place const& p : order) {
        safetensors_entry& e = entries[p.index];
        result.tensors.push_back({.name = std::move(e.name),
                                  .type = e.type->type,
                                  .type_name = std::string(e.type->name),
                                  .shape = std::move(e.shape),
                                  .bytes = data.subspan(static_cast<std::size_t>(e.begin), static_cast<std::size_t>(e.end - e.begin)),
                                  .offset = data_begin + e.begin});
    }
    fold_packed_tensors(result);
    return result;
}

}  // namespace io

/// Writes a safetensors file, whole or not at all (see output_file). The data starts 64-byte aligned and the tensors are
/// ordered by element size, so that each is aligned to its elements: the format allows no holes between them.
/// Throws load_error if a tensor's bytes are not what its shape says, a name comes twice or is not UTF-8, or writing fails.
template <class OnDemand = void>
void write_safetensors(std::filesystem::path const& path, std::map<std::string, std::string> const& metadata,
                       std::vector<output_tensor> const& tensors) {
    std::vector<io::place> order = io::sorted_by_name(tensors);
    if (io::place const* const twice = io::find_twice(order)) io::fail(path, {"cannot be written: the name ", io::in_quotes(twice->name), " twice"});
    for (io::place& p : order) {
        auto const* const info = io::find_dtype(tensors[p.index].type);
        if (!info) io::fail(path, {"cannot be written: tensor ", io::in_quotes(p.name), " has a type without a name"});
        if (p.name == "__metadata__") io::fail(path, {"cannot be written: a tensor cannot have the name '__metadata__'"});
        p.begin = 8 - info->size;  // large elements first
    }
    io::sort(order);

    auto const json_text = [&](std::string const& text) {
        if (detail::valid_utf8_prefix(text) != text.size()) io::fail(path, {"cannot be written: ", io::in_quotes(text), " is not UTF-8"});
        return io::json_quoted(text);
    };
    std::string header = "{";
    if (!metadata.empty()) {
        header += "\"__metadata__\":{";
        for (auto const& [key, value] : metadata) detail::append(header, {json_text(key), ":", json_text(value), ","});
        header.back() = '}';
        header += ',';
    }
    std::uint64_t begin = 0;
    for (io::place const& p : order) {
        output_tensor const* const t = &tensors[p.index];
        io::dtype_info const& type = *io::find_dtype(t->type);
        if (io::byte_count(t->shape, type.size) != t->bytes.size()) {
            io::fail(path, {"cannot be written: tensor ", io::in_quotes(t->name), " has shape ", io::shape_text(t->shape), " but ", t->bytes.size(),
                            " bytes"});
        }
        std::uint64_t const end = begin + t->bytes.size();
        detail::append(header, {json_text(t->name), ":{\"dtype\":\"", type.name, "\",\"shape\":", io::shape_text(t->shape), ",\"data_offsets\":[",
                                begin, ",", end, "]},"});
        begin = end;
    }
    if (header.back() == ',') header.pop_back();
    header += '}';
    header.append((64 - (8 + header.size()) % 64) % 64, ' ');
    if (header.size() > io::most_header_bytes) io::fail(path, {"cannot be written: the header would be over 100 MB"});

    std::byte length[8];
    for (std::size_t i = 0; i < 8; ++i) length[i] = static_cast<std::byte>(header.size() >> (8 * i) & 0xff);
    output_file file(path);
    file.write(length);
    file.write(std::as_bytes(std::span(header.data(), header.size())));
    for (io::place const& p : order) file.write(tensors[p.index].bytes);
    file.commit();
}

}  // namespace goldfinch
