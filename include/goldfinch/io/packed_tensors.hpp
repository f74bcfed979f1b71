// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <goldfinch/io/bytes.hpp>
#include <goldfinch/io/stored_tensor.hpp>

namespace goldfinch::io {

/// The two numbers of a tensor that is a shape; nothing where it is none.
template <class OnDemand = void>
std::optional<std::vector<std::uint64_t>> read_shape(stored_tensor const& t) {
    if (t.type != dtype::i64 || t.shape != std::vector<std::uint64_t>{2}) return std::nullopt;
    std::vector<std::uint64_t> shape(2);
    std::memcpy(shape.data(), t.bytes.data(), 16);
    return shape;
}

/// Makes one tensor NAME of type `packed` of every three tensors NAME_packed, NAME_scale and NAME_shape, the names of compressed-tensors
/// (pack-quantized): integers of 4 or 8 bits in 32-bit words, symmetric, with a bf16 scale for each group of a row's elements. Throws load_error where
/// the three do not fit each other.
template <class OnDemand = void>
void fold_packed_tensors(checkpoint& file) {
    constexpr std::string_view suffix = "_packed";
    std::vector<std::string> parts;
    std::vector<stored_tensor> whole;
    for (stored_tensor const& t : file.tensors) {
        if (!std::string_view(t.name).ends_with(suffix)) continue;
        std::string const name = t.name.substr(0, t.name.size() - suffix.size());
        stored_tensor const *const scale = file.find(name + "_scale"), *const shape = file.find(name + "_shape");
        if (scale == nullptr || shape == nullptr || file.find(name) != nullptr) continue;  // no three, which the model's needs will tell
        complaint const wrong{file.path, "tensor", t.name, t.offset};
        auto const extents = read_shape(*shape);
        if (!extents) wrong({"has beside it ", in_quotes(shape->name), " of type ", shape->type_name, ", expected two I64, the shape"});
        std::uint64_t const rows = (*extents)[0], columns = (*extents)[1];
        if (t.type != dtype::i32 || t.shape.size() != 2 || t.shape[0] != rows || rows == 0 || columns == 0)
            wrong({"has type ", t.type_name, " and shape ", shape_text(t.shape), ", expected I32 and a row of words for each of ", rows, " rows"});
        std::size_t bits = 0;
        for (std::size_t const candidate : {8u, 4u})
            if (columns <= std::uint64_t{1} << 40 && (columns * candidate + 31) / 32 == t.shape[1]) bits = candidate;
        if (columns <= 4) wrong({"has rows of ", columns, " integers, which could be of 4 or of 8 bits"});
        if (bits == 0) wrong({"has rows of ", t.shape[1], " words, expected ", columns, " integers of 4 or 8 bits in each"});
        if (scale->type != dtype::bf16 || scale->shape.size() != 2 || scale->shape[0] != rows || scale->shape[1] == 0 || scale->shape[1] > columns)
            wrong({"has beside it ", in_quotes(scale->name), " of type ", scale->type_name, " and shape ", shape_text(scale->shape),
                   ", expected BF16 and a row of scales for each of ", rows, " rows"});
        // Blocks of 64, of which the last may be shorter, or groups of equal size.
        std::uint64_t const scales = scale->shape[1];
        std::uint64_t const block = (columns + 63) / 64 == scales ? 64 : columns / scales;
        if (block * scales < columns) wrong({"has ", scales, " scales for the ", columns, " elements of a row, which are no groups of equal size"});
        whole.push_back({.name = name, .type = dtype::packed, .type_name = message({"int", bits}), .shape = *extents, .bytes = t.bytes,
                         .offset = t.offset, .bits = bits, .block = static_cast<std::size_t>(block), .scale = scale->bytes});
        parts.insert(parts.end(), {t.name, scale->name, shape->name});
    }
    if (whole.empty()) return;
    std::sort(parts.begin(), parts.end());
    std::erase_if(file.tensors, [&](stored_tensor const& t) { return std::binary_search(parts.begin(), parts.end(), t.name); });
    for (stored_tensor& t : whole) file.tensors.push_back(std::move(t));
    std::sort(file.tensors.begin(), file.tensors.end(), [](stored_tensor const& a, stored_tensor const& b) { return a.name < b.name; });
}

}  // namespace goldfinch::io
