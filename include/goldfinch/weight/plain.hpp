// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstring>
#include <string_view>
#include <type_traits>

#include <goldfinch/numeric.hpp>
#include <goldfinch/view.hpp>
#include <goldfinch/weight/format.hpp>

namespace goldfinch {

namespace detail {

template <class T>
inline constexpr std::string_view safetensors_type = std::is_same_v<T, double>  ? "F64"
                                                     : std::is_same_v<T, float> ? "F32"
                                                     : std::is_same_v<T, half>  ? "F16"
                                                                                : "BF16";

/// Elements of T, one after another.
template <class T>
class plain_format final : public weight_format {
public:
    std::string_view name() const override { return safetensors_type<T>; }
    std::size_t n_planes() const override { return 1; }
    weight_plane plane(std::size_t, std::size_t columns) const override {
        return {"", safetensors_type<T>, columns, columns * sizeof(T), columns, 8 * sizeof(T)};
    }
    void encode(double const* row, std::size_t columns, std::byte* const* planes) const override {
        for (std::size_t i = 0; i < columns; ++i) {
            auto const value = static_cast<T>(row[i]);
            std::memcpy(planes[0] + i * sizeof(T), &value, sizeof(T));
        }
    }
    void decode(std::byte const* const* planes, std::size_t columns, double* row) const override {
        for (std::size_t i = 0; i < columns; ++i) {
            T value;
            std::memcpy(&value, planes[0] + i * sizeof(T), sizeof(T));
            if constexpr (std::is_same_v<T, double>)
                row[i] = value;
            else
                row[i] = static_cast<double>(static_cast<float>(value));
        }
    }
    void bind(void* view, std::byte const* const* planes) const override {
        *static_cast<T const**>(view) = reinterpret_cast<T const*>(planes[0]);
    }
    void planes_of(void const* view, std::byte const** planes) const override {
        planes[0] = reinterpret_cast<std::byte const*>(*static_cast<T const* const*>(view));
    }
};

template <class T>
inline constexpr plain_format<T> plain_format_of{};

}  // namespace detail

/// The format of a view of plain elements, whose only member is a pointer to them.
template <class T, std::size_t... Extents>
constexpr weight_format const& format_of(tensor<T const, Extents...> const&) {
    return detail::plain_format_of<T>;
}
template <class T, std::size_t Rows, std::size_t Cols>
constexpr weight_format const& format_of(transposed_matrix<T const, Rows, Cols> const&) {
    return detail::plain_format_of<T>;
}

}  // namespace goldfinch
