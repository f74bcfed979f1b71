// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <type_traits>

#include <goldfinch/backend/cpu.hpp>
#include <goldfinch/cache/attend.hpp>
#include <goldfinch/cache/pages.hpp>
#include <goldfinch/layer/parameter.hpp>
#include <goldfinch/view.hpp>

namespace goldfinch::detail {

/// Keys and values of one attention block, a row [D] of each a position, kept as Value: float, bf16, or int8 with a scale a row.
template <class Backend, class Value, std::size_t D>
class key_value_rows {
    using S = typename Backend::scalar;
    static constexpr bool scaled = std::is_integral_v<Value>;

public:
    /// Positions kept.
    std::size_t size() const { return pages_.size(); }
    /// Bytes allocated.
    std::size_t bytes() const { return pages_.bytes(); }
    void reserve(std::size_t n) { pages_.reserve(n); }

    /// Adds the keys k and values v [T, D] of the next T positions.
    void append(Backend const& be, inputs<Backend, D> k, inputs<Backend, D> v) {
        std::size_t const first = size();
        reserve(first + k.size);
        pages_.runs(first, k.size, [&](page& p, std::size_t row, std::size_t n, std::size_t at) {
            pack(be, k.rows(at, n), sequence<Value, D>{p.keys.data() + row * D, n}, p.key_scales.data() + (scaled ? row : 0));
            pack(be, v.rows(at, n), sequence<Value, D>{p.values.data() + row * D, n}, p.value_scales.data() + (scaled ? row : 0));
        });
        pages_.grow(first + k.size);
    }

    /// Softmax attention of H heads: y [T, D] from the queries q [T, D] at the positions from q_position on, each to every position
    /// up to its own.
    template <std::size_t H>
    void attend(Backend const& be, inputs<Backend, D> q, std::size_t q_position, outputs<Backend, D> y) const {
        attend_tiles<H>(
            be, q, q_position, size(),
            [&](Backend const& worker, std::size_t first, std::size_t count, auto const& use) {
                pages_.runs(first, count, [&](page const& p, std::size_t row, std::size_t n, std::size_t) {
                    sequence<Value const, D> const k{p.keys.data() + row * D, n}, v{p.values.data() + row * D, n};
                    if constexpr (scaled) {
                        temporaries tmp(worker);
                        auto const K = tmp.sequence<S, D>(n), V = tmp.sequence<S, D>(n);
                        unpack(worker, k, p.key_scales.data() + row, K);
                        unpack(worker, v, p.value_scales.data() + row, V);
                        use(inputs<Backend, D>(K), inputs<Backend, D>(V));
                    } else {
                        use(k, v);
                    }
                });
            },
            y);
    }
    /// The same for the queries of the positions added last.
    template <std::size_t H>
    void attend(Backend const& be, inputs<Backend, D> q, outputs<Backend, D> y) const {
        attend<H>(be, q, size() - q.size, y);
    }

    /// Makes it n rows, to be read by transfer.
    void resize(std::size_t n) {
        pages_.reserve(n);
        pages_.grow(n);
    }
    /// Passes all rows through an archive, which reads or writes them.
    static void transfer(auto& self, auto& archive) {
        self.pages_.runs(0, self.size(), [&](page& p, std::size_t, std::size_t count, std::size_t) {
            archive.bytes(p.keys.data(), count * D * sizeof(Value));
            archive.bytes(p.values.data(), count * D * sizeof(Value));
            if constexpr (scaled) {
                archive.bytes(p.key_scales.data(), count * sizeof(float));
                archive.bytes(p.value_scales.data(), count * sizeof(float));
            }
        });
    }
    /// Bytes a position takes, and that transfer moves for it.
    static constexpr std::size_t row_bytes = 2 * (D * sizeof(Value) + (scaled ? sizeof(float) : 0));

private:
    struct alignas(alignment) page {
        static constexpr std::size_t rows = tile_positions;  // a tile is a run of one page
        std::array<Value, rows * D> keys, values;
        std::array<float, scaled ? rows : 1> key_scales, value_scales;
    };

    paged<page> pages_;
};

/// What a block without keys of its own keeps in that place.
struct no_rows {
    static constexpr std::size_t row_bytes = 0;
};

}  // namespace goldfinch::detail
