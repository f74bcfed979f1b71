// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <goldfinch/io/order.hpp>

namespace goldfinch {

static_assert(std::endian::native == std::endian::little, "goldfinch: checkpoints are little-endian and used in place");

/// Element types weights may have; `packed` is integers of a few bits with scales, kept in three tensors of a file (io/packed_tensors.hpp);
/// `other` is anything else a file may hold (bools, 8-bit floats), i32 and i64 among it by name.
enum class dtype { f64, f32, f16, bf16, packed, i32, i64, other };

/// A tensor as a checkpoint stores it: row-major, contiguous, not necessarily aligned to its elements.
struct stored_tensor {
    std::string name;
    dtype type = dtype::other;
    std::string type_name;  ///< as safetensors calls it: "BF16", "F32", "I64", ...
    std::vector<std::uint64_t> shape;
    std::span<std::byte const> bytes;  ///< exactly product(shape) elements
    std::uint64_t offset = 0;          ///< of the first byte in the file, for messages

    // Where the type is `packed`: `bytes` are the words, and
    std::size_t bits = 0;              ///< of an integer
    std::size_t block = 0;             ///< elements of a row that share a scale
    std::span<std::byte const> scale = {};  ///< bf16, row by row
};

/// What a checkpoint file holds.
struct checkpoint {
    std::filesystem::path path;
    std::vector<stored_tensor> tensors;           ///< sorted by name, no name twice
    std::map<std::string, std::string> metadata;  ///< safetensors' __metadata__; empty for .pth
    std::shared_ptr<void const> storage;          ///< keeps every `bytes` alive: the mapping, and copies of tensors that were not contiguous
    std::string format;                           ///< "safetensors" or "PyTorch zip archive"
    std::uint64_t file_size = 0;                  ///< bytes

    /// The tensor of that name, or nullptr.
    stored_tensor const* find(std::string_view name) const { return io::find(tensors, name); }
};

namespace io {

/// An element type by safetensors' name for it.
struct dtype_info {
    std::string_view name;
    dtype type;
    std::uint64_t size;  // bytes
};

inline constexpr dtype_info dtypes[] = {
    {"F64", dtype::f64, 8},       {"F32", dtype::f32, 4},      {"F16", dtype::f16, 2},   {"BF16", dtype::bf16, 2},  {"I64", dtype::i64, 8},
    {"U64", dtype::other, 8},     {"C64", dtype::other, 8},    {"I32", dtype::i32, 4}, {"U32", dtype::other, 4},  {"I16", dtype::other, 2},
    {"U16", dtype::other, 2},     {"I8", dtype::other, 1},     {"U8", dtype::other, 1},  {"BOOL", dtype::other, 1}, {"F8_E4M3", dtype::other, 1},
    {"F8_E5M2", dtype::other, 1}, {"F8_E8M0", dtype::other, 1}};

/// The entry of that name, or nullptr.
constexpr dtype_info const* find_dtype(std::string_view name) {
    for (dtype_info const& info : dtypes)
        if (info.name == name) return &info;
    return nullptr;
}

/// The entry of a type; nullptr for `packed` and `other`.
constexpr dtype_info const* find_dtype(dtype type) {
    for (dtype_info const& info : dtypes)
        if (info.type == type && type != dtype::other) return &info;
    return nullptr;
}

/// More dimensions than any tensor has; keeps what a hostile header can make us hold in proportion to its size.
inline constexpr std::size_t most_dimensions = 16;

}  // namespace io

}  // namespace goldfinch
