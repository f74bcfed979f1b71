// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <goldfinch/config.hpp>
#include <goldfinch/error.hpp>
#include <goldfinch/layer/list.hpp>
#include <goldfinch/layer/weights.hpp>
#include <goldfinch/message.hpp>
#include <goldfinch/view.hpp>
#include <goldfinch/weight/format.hpp>

namespace goldfinch {

/// A tensor among a model's weights.
struct weight_tensor {
    std::string name;                ///< in a checkpoint
    std::vector<std::size_t> shape;  ///< in a checkpoint
    weight_format const* format;     ///< how a row is kept
    bool transposed;                 ///< rows are columns in memory
    void const* data;                ///< where it lies, in memory of the backend; of packed integers those, whose scales are elsewhere
};

namespace detail {

/// All weights of a model, as views.
template <config C, class Backend, class Stack>
struct parameters {
    using T = typename Backend::weight const;
    static constexpr std::size_t V = C.vocab_size, D = C.n_embd;
    matrix<T, V, D> emb;
    norm_weights<T, D> ln0;
    typename Stack::template weights<Backend> blocks;
    norm_weights<T, D> ln_out;
    linear_weights<Backend, V, D> head;

    static constexpr void list(auto& self, auto const& f) {
        f("emb.weight", self.emb);
        f("blocks.0.ln0", self.ln0);
        f("", self.blocks);
        f("ln_out", self.ln_out);
        f("head.weight", self.head);
    }
};

/// A weight tensor of a model, for code that needs its name, its shape and how it is stored, and not its type.
struct parameter {
    std::string name;                    ///< in the checkpoint
    std::span<std::size_t const> shape;  ///< in the checkpoint
    std::size_t size;                    ///< elements
    weight_format const* format;
    void* view;
    bool transposed = false;  ///< rows are columns in memory

    std::size_t columns() const { return shape.back(); }
    std::size_t rows() const { return size / columns(); }
    /// Bytes in a checkpoint.
    std::size_t stored_bytes() const { return rows() * row_bytes(*format, columns()); }
    /// Bytes of memory: its planes one after another, each on a cache line.
    std::size_t bytes() const {
        std::size_t sum = 0;
        for (std::size_t i = 0; i < format->n_planes(); ++i) sum += on_lines(plane_bytes(i));
        return sum;
    }

    /// Bytes of a plane.
    std::size_t plane_bytes(std::size_t i) const {
        weight_plane const p = format->plane(i, columns());
        return transposed ? p.numbers * transposed_row_bytes(p) : rows() * p.row_bytes;
    }

    /// Makes the view look at memory laid out so.
    void bind(std::byte* data) {
        std::byte* planes[weight_format::most_planes] = {};
        place(data, 0, planes);
        format->bind(view, planes);
    }
    /// Fills such memory's rows from r on with n rows, which are given one after another for each plane: at from[0], from[1]...
    void store_rows(std::byte* data, std::size_t r, std::size_t n, std::byte const* const* from) const {
        std::byte* planes[weight_format::most_planes];
        place(data, transposed ? 0 : r, planes);
        for (std::size_t i = 0; i < format->n_planes(); ++i) {
            weight_plane const plane = format->plane(i, columns());
            if (transposed)
                transpose(plane.bits, from[i], n, plane.row_bytes, plane.numbers, planes[i], r, transposed_row_bytes(plane));
            else
                std::copy_n(from[i], n * plane.row_bytes, planes[i]);
        }
    }
    /// All rows of a plane of a transposed parameter, one after another.
    void load_rows(std::size_t i, std::byte const* plane, std::byte* to) const {
        weight_plane const p = format->plane(i, columns());
        transpose(p.bits, plane, p.numbers, transposed_row_bytes(p), rows(), to, 0, p.row_bytes);
    }

    /// Where row r of each plane is in it, of a transposed parameter the whole plane (r is 0).
    void place(std::byte* data, std::size_t r, std::byte** planes) const {
        for (std::size_t i = 0; i < format->n_planes(); ++i) {
            planes[i] = data + r * format->plane(i, columns()).row_bytes;
            data += on_lines(plane_bytes(i));
        }
    }

private:
    std::size_t transposed_row_bytes(weight_plane const& p) const { return (rows() * p.bits + 7) / 8; }
    static std::size_t on_lines(std::size_t bytes) { return (bytes + 63) / 64 * 64; }
    /// Row r of n numbers becomes column `column + r` of `to`: a number of Bytes bytes, or, of 0, half a one.
    template <std::size_t Bytes>
    static void transpose_numbers(std::byte const* from, std::size_t n_rows, std::size_t from_stride, std::size_t n, std::byte* to,
                                  std::size_t column, std::size_t to_stride) {
        constexpr std::size_t block = 32;
        for (std::size_t k = 0; k < n; k += block)
            for (std::size_t r = 0; r < n_rows; ++r)
                for (std::size_t i = k; i < std::min(n, k + block); ++i) {
                    std::size_t const c = column + r;
                    if constexpr (Bytes == 0) {
                        std::byte& two = to[i * to_stride + c / 2];
                        std::byte const one = from[r * from_stride + i / 2] >> (i % 2 * 4) & std::byte{15};
                        two = c % 2 == 0 ? one : (two & std::byte{15}) | one << 4;
                    } else {
                        std::memcpy(to + i * to_stride + c * Bytes, from + r * from_stride + i * Bytes, Bytes);
                    }
                }
    }
    static void transpose(std::size_t bits, std::byte const* from, std::size_t n_rows, std::size_t from_stride, std::size_t n, std::byte* to,
                          std::size_t column, std::size_t to_stride) {
        auto const f = bits == 4 ? transpose_numbers<0> : bits == 8 ? transpose_numbers<1> : bits == 16 ? transpose_numbers<2> : transpose_numbers<4>;
        f(from, n_rows, from_stride, n, to, column, to_stride);
    }
};

/// Collects all weights below a node, in order. Lists are read once in a model's life: what can be is out of line.
struct parameter_collector {
    std::vector<parameter>& entries;
    std::string& prefix;

    template <class Node>
    void operator()(list_name const& name, Node& node) const {
        std::size_t const outer = enter(name);
        if constexpr (!leaf<Node>)
            Node::list(node, *this);
        else if constexpr (requires { Node::stored_extents; })
            add(Node::stored_extents, Node::size, format_of(node), &node);
        else
            add(
                Node::extents, Node::size, format_of(node), &node, requires { Node::transposed; });
        prefix.resize(outer);
    }

private:
    GOLDFINCH_COLD std::size_t enter(list_name const& name) const {
        std::size_t const outer = prefix.size();
        if (*name.text != '\0') prefix.append(outer > 0 ? "." : "").append(name.text);
        if (name.numbered) prefix.append(std::to_string(name.index));
        return outer;
    }
    GOLDFINCH_COLD void add(std::span<std::size_t const> shape, std::size_t size, weight_format const& format, void* view,
                            bool transposed = false) const {
        entries.push_back({prefix, shape, size, &format, view, transposed});
    }
};

/// Throws config_error where two tensors have one name: a checkpoint could hold only one of them.
GOLDFINCH_COLD inline void check_names(std::vector<parameter> const& entries) {
    std::vector<std::string_view> names;
    for (parameter const& t : entries) names.push_back(t.name);
    std::sort(names.begin(), names.end());
    auto const twice = std::adjacent_find(names.begin(), names.end());
    if (twice != names.end())
        throw config_error(message({"goldfinch: two tensors of this model's layers are listed as ", *twice, ": each needs a name of its own"}));
}

/// All weights below a node, in order. Throws config_error where two of them have one name.
template <class Node>
std::vector<parameter> list_parameters(Node& node) {
    std::vector<parameter> entries;
    std::string prefix;
    parameter_collector{entries, prefix}("", node);
    check_names(entries);
    return entries;
}

}  // namespace detail

}  // namespace goldfinch
