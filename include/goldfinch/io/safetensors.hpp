// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <goldfinch/io/bytes.hpp>
#include <goldfinch/io/json.hpp>
#include <goldfinch/io/output_file.hpp>
#include <goldfinch/io/stored_tensor.hpp>

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
inline safetensors_entry read_safetensors_entry(json_reader& json, std::string const& name, std::filesystem::path const& path) {
    safetensors_entry entry;
    entry.name = name;
    auto const wrong = [&](std::string const& what) { fail(path, "tensor " + in_quotes(name) + " " + what + at_byte(json.offset())); };
    std::optional<std::vector<std::uint64_t>> shape, offsets;
    auto const integers = [&](std::optional<std::vector<std::uint64_t>>& list, std::size_t most) {
        list.emplace();
        json.array([&] {
            if (list->size() == most) wrong("has a list of more than " + std::to_string(most) + " numbers");
            list->push_back(json.integer());
        });
    };
    json.object([&](std::string const& key) {
        bool const repeated = (key == "dtype" && entry.type) || (key == "shape" && shape) || (key == "data_offsets" && offsets);
        if (repeated) wrong("has the key " + in_quotes(key) + " twice");
        if (key == "dtype") {
            std::string const type = json.string();
            entry.type = find_dtype(type);
            if (!entry.type) wrong("has the unknown dtype " + in_quotes(type));
        } else if (key == "shape") {
            integers(shape, most_dimensions);
        } else if (key == "data_offsets") {
            integers(offsets, 2);
        } else {
            wrong("has the unknown key " + in_quotes(key));
        }
    });
    if (!entry.type || !shape || !offsets) wrong(std::string("has no ") + (!entry.type ? "dtype" : !shape ? "shape" : "data_offsets"));
    if (offsets->size() != 2) wrong("has data_offsets that are no pair");
    entry.shape = std::move(*shape);
    entry.begin = offsets->front();
    entry.end = offsets->back();
    return entry;
}

/// The tensors must fill the data exactly, and each span must be what dtype and shape say.
inline void check_safetensors_layout(std::vector<safetensors_entry>& entries, std::uint64_t data_begin, std::uint64_t data_size,
                                     std::filesystem::path const& path) {
    std::ranges::sort(entries, {}, [](safetensors_entry const& e) { return std::tie(e.begin, e.end, e.name); });
    std::uint64_t filled = 0;
    for (safetensors_entry const& e : entries) {
        auto const wrong = [&](std::string const& what) {
            fail(path, "tensor " + in_quotes(e.name) + " " + what + at_byte(data_begin + std::min(e.begin, data_size)));
        };
        std::string const span = std::string("[").append(std::to_string(e.begin)).append(", ").append(std::to_string(e.end)).append(")");
        if (e.begin > e.end) wrong("has data_offsets in the wrong order: " + span);
        if (e.end > data_size)
            wrong("ends beyond the file: data_offsets " + span + ", data bytes " + std::to_string(data_size) + "; the file may be cut short");
        auto const expected = byte_count(e.shape, e.type->size);
        if (!expected) wrong("has a shape whose size overflows: " + shape_text(e.shape));
        if (*expected != e.end - e.begin) {
            wrong("has shape " + shape_text(e.shape) + " of " + std::string(e.type->name) + ", which is " + std::to_string(*expected) +
                  " bytes, but data_offsets " + span + ", which is " + std::to_string(e.end - e.begin));
        }
        if (e.begin < filled) wrong("overlaps the tensor before it: data_offsets " + span + ", expected " + std::to_string(filled) + " or more");
        if (e.begin > filled) wrong("leaves a hole before it: data_offsets " + span + ", expected to start at " + std::to_string(filled));
        filled = e.end;
    }
    if (filled != data_size) fail(path, std::to_string(data_size - filled) + " bytes after the last tensor" + at_byte(data_begin + filled));
}

/// Reads a safetensors file from memory; `storage` keeps the bytes alive. Throws load_error for everything that the format
/// does not allow. Source: the format's description at github.com/huggingface/safetensors.
inline checkpoint read_safetensors(std::span<std::byte const> bytes, std::filesystem::path const& path, std::shared_ptr<void const> storage) {
    byte_reader reader(bytes, path, 0, "the safetensors header");
    auto const header_size = reader.number<std::uint64_t>();
    if (header_size > most_header_bytes) {
        fail(path, "the safetensors header is said to be " + std::to_string(header_size) + " bytes long, at most 100 MB are allowed (byte 0)");
    }
    std::string_view const header = reader.text(header_size);
    if (!header.starts_with('{')) fail(path, "the safetensors header does not start with '{' (byte 8)");

    checkpoint result{.path = path, .tensors = {}, .metadata = {}, .storage = std::move(storage), .format = "safetensors", .file_size = bytes.size()};
    std::vector<safetensors_entry> entries;
    json_reader json(header, path, 8);
    bool has_metadata = false;
    json.object([&](std::string const& name) {
        if (name != "__metadata__") return entries.push_back(read_safetensors_entry(json, name, path));
        if (std::exchange(has_metadata, true)) fail(path, "the key '__metadata__' twice" + at_byte(json.offset()));
        json.object([&](std::string const& key) {
            if (!result.metadata.emplace(key, json.string()).second)
                fail(path, "the metadata key " + in_quotes(key) + " twice" + at_byte(json.offset()));
        });
    });
    json.end();

    std::uint64_t const data_begin = reader.offset();
    auto const data = reader.take(reader.left());
    check_safetensors_layout(entries, data_begin, data.size(), path);

    result.tensors.reserve(entries.size());
    for (safetensors_entry& e : entries) {
        result.tensors.push_back({.name = std::move(e.name),
                                  .type = e.type->type,
                                  .type_name = std::string(e.type->name),
                                  .shape = std::move(e.shape),
                                  .bytes = data.subspan(static_cast<std::size_t>(e.begin), static_cast<std::size_t>(e.end - e.begin)),
                                  .offset = data_begin + e.begin});
    }
    std::ranges::sort(result.tensors, {}, &stored_tensor::name);
    auto const twice = std::ranges::adjacent_find(result.tensors, {}, &stored_tensor::name);
    if (twice != result.tensors.end()) fail(path, "tensor " + in_quotes(twice->name) + " twice" + at_byte(twice->offset));
    return result;
}

}  // namespace io

/// Writes a safetensors file, whole or not at all (see output_file). The data starts 64-byte aligned and the tensors are
/// ordered by element size, so that each is aligned to its elements: the format allows no holes between them.
/// Throws load_error if a tensor's bytes are not what its shape says, a name comes twice or is not UTF-8, or writing fails.
inline void write_safetensors(std::filesystem::path const& path, std::map<std::string, std::string> const& metadata,
                              std::span<output_tensor const> tensors) {
    std::vector<output_tensor const*> order(tensors.size());
    std::ranges::transform(tensors, order.begin(), [](output_tensor const& t) { return &t; });
    auto const size_of = [&](output_tensor const* t) {
        auto const* info = io::find_dtype(t->type);
        if (!info) io::fail(path, "cannot be written: tensor " + io::in_quotes(t->name) + " has a type without a name");
        return info->size;
    };
    std::ranges::sort(order, [&](output_tensor const* a, output_tensor const* b) {
        return size_of(a) != size_of(b) ? size_of(a) > size_of(b) : a->name < b->name;
    });

    auto const json_text = [&](std::string const& text) {
        if (io::valid_utf8_prefix(text) != text.size()) io::fail(path, "cannot be written: " + io::in_quotes(text) + " is not UTF-8");
        return io::json_quoted(text);
    };
    std::string header = "{";
    if (!metadata.empty()) {
        header += "\"__metadata__\":{";
        for (auto const& [key, value] : metadata) header += json_text(key) + ":" + json_text(value) + ",";
        header.back() = '}';
        header += ',';
    }
    std::set<std::string_view> names{"__metadata__"};
    std::uint64_t begin = 0;
    for (output_tensor const* t : order) {
        if (!names.insert(t->name).second) io::fail(path, "cannot be written: the name " + io::in_quotes(t->name) + " twice");
        if (io::byte_count(t->shape, size_of(t)) != t->bytes.size()) {
            io::fail(path, "cannot be written: tensor " + io::in_quotes(t->name) + " has shape " + io::shape_text(t->shape) + " but " +
                               std::to_string(t->bytes.size()) + " bytes");
        }
        std::uint64_t const end = begin + t->bytes.size();
        header += json_text(t->name) + ":{\"dtype\":\"" + std::string(io::find_dtype(t->type)->name) + "\",\"shape\":" + io::shape_text(t->shape) +
                  ",\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(end) + "]},";
        begin = end;
    }
    if (header.back() == ',') header.pop_back();
    header += '}';
    header.append((64 - (8 + header.size()) % 64) % 64, ' ');
    if (header.size() > io::most_header_bytes) io::fail(path, "cannot be written: the header would be over 100 MB");

    std::byte length[8];
    for (std::size_t i = 0; i < 8; ++i) length[i] = static_cast<std::byte>(header.size() >> (8 * i) & 0xff);
    output_file file(path);
    file.write(length);
    file.write(std::as_bytes(std::span(header)));
    for (output_tensor const* t : order) file.write(t->bytes);
    file.commit();
}

}  // namespace goldfinch
