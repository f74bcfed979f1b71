// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string_view>

namespace goldfinch {

/// One of the arrays in which a format keeps a matrix, row by row. In a checkpoint it is the tensor NAME + suffix.
struct weight_plane {
    std::string_view suffix;  ///< "" for the only array of a plain type
    std::string_view type;    ///< as safetensors calls it: "BF16", "I32", ...
    std::size_t columns;      ///< elements a row
    std::size_t row_bytes;
    std::size_t numbers;      ///< a row, of `bits` bits each: elements may be words that hold several
    std::size_t bits;         ///< 4, or whole bytes
};

/// How the numbers of a parameter are stored, whatever its shape: all that loading, saving, random initialisation and fingerprints know of
/// it. A parameter is a matrix here: its last extent is a row's length. Rows of numbers are double, in which every format is exact.
class weight_format {
public:
    static constexpr std::size_t most_planes = 2;

    virtual std::string_view name() const = 0;
    virtual std::size_t n_planes() const = 0;
    virtual weight_plane plane(std::size_t i, std::size_t columns) const = 0;
    /// Whether a checkpoint needs the shape besides, as the integers NAME_shape, because no plane has it.
    virtual bool keeps_shape() const { return false; }
    /// Writes a row, rounded to the format, at planes[0], planes[1]...
    virtual void encode(double const* row, std::size_t columns, std::byte* const* planes) const = 0;
    /// Reads a row that is stored at planes[0], planes[1]..., each aligned to its elements or not.
    virtual void decode(std::byte const* const* planes, std::size_t columns, double* row) const = 0;
    /// Makes a view of this format look at the planes, or says where it looks.
    virtual void bind(void* view, std::byte const* const* planes) const = 0;
    virtual void planes_of(void const* view, std::byte const** planes) const = 0;

protected:
    ~weight_format() = default;
};

/// Bytes that a format keeps for a matrix of `columns` elements a row, a row.
inline std::size_t row_bytes(weight_format const& format, std::size_t columns) {
    std::size_t sum = 0;
    for (std::size_t i = 0; i < format.n_planes(); ++i) sum += format.plane(i, columns).row_bytes;
    return sum;
}

}  // namespace goldfinch
