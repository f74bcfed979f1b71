// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include <goldfinch/batch.hpp>
#include <goldfinch/cache/pages.hpp>
#include <goldfinch/layer/weights.hpp>
#include <goldfinch/numeric.hpp>
#include <goldfinch/view.hpp>

namespace goldfinch::detail {

/// Keys and values of one attention block and one sequence, a row [D] of each a position, kept as Value: float, bf16, or int8 with a scale
/// a row.
template <class Backend, class Value, std::size_t D>
class key_value_rows {
    using S = typename Backend::scalar;
    static constexpr bool scaled = std::is_integral_v<Value>;
    static constexpr std::size_t scale_bytes = scaled ? sizeof(float) : 0;
    enum plane { keys, values, key_scales, value_scales };

public:
    using rows = pages<Backend, nothing_attached, D * sizeof(Value), D * sizeof(Value), scale_bytes, scale_bytes>;

    rows const& kept() const { return rows_; }
    rows& kept() { return rows_; }

    /// Adds the keys k and values v [T, D] of the next T positions.
    void append(Backend const& be, inputs<Backend, D> k, inputs<Backend, D> v) {
        std::size_t const first = rows_.size();
        rows_.reserve(first + k.size);
        rows::runs(first, k.size, [&](std::size_t position, std::size_t n, std::size_t at) {
            pack(be, k.rows(at, n), sequence<Value, D>{rows_.template row<Value>(keys, position), n}, rows_.template row<float>(key_scales, position));
            pack(be, v.rows(at, n), sequence<Value, D>{rows_.template row<Value>(values, position), n}, rows_.template row<float>(value_scales, position));
        });
        rows_.grow(first + k.size);
    }

    /// use(K, V) with the keys and values of n positions from `first` on, which are in one page.
    template <class Use>
    void read(Backend const& be, std::size_t first, std::size_t n, Use const& use) const {
        sequence<Value const, D> const k{rows_.template row<Value>(keys, first), n}, v{rows_.template row<Value>(values, first), n};
        if constexpr (scaled) {
            auto const K = temporary<D>(be, n), V = temporary<D>(be, n);
            unpack(be, k, rows_.template row<float>(key_scales, first), K);
            unpack(be, v, rows_.template row<float>(value_scales, first), V);
            use(inputs<Backend, D>(K), inputs<Backend, D>(V));
        } else {
            use(k, v);
        }
    }

private:
    rows rows_;
};

/// The keys and values that one block keeps of each sequence in a batch: what its attention reads. Rows: key_value_rows, const or not.
template <class Backend, class Rows, std::size_t D>
class own_keys {
    using S = typename Backend::scalar;

public:
    /// rows_of[i][block] are those of sequence i.
    own_keys(batch<S> const& sequences, Rows* const* rows_of, std::size_t block) : sequences_(sequences), rows_of_(rows_of), block_(block) {}

    /// The sequences whose rows x is made of; their positions are those of x.
    batch<S> const& sequences() const { return sequences_; }

    /// Adds the keys k and values v [T, D] of the rows of x to their sequences.
    void append(Backend const& be, inputs<Backend, D> k, inputs<Backend, D> v) const {
        for (std::size_t i = 0; i < sequences_.size; ++i) {
            std::size_t const first = sequences_.first[i], n = sequences_.rows(i);
            of(i).append(be, k.rows(first, n), v.rows(first, n));
        }
    }

    /// Softmax attention of H heads: y [T, D] from the queries q [T, D], each to every position of its sequence up to its own.
    template <std::size_t H>
    void attend(Backend const& be, inputs<Backend, D> q, outputs<Backend, D> y) const {
        page_owners const owners(sequences_.size, [&](std::size_t i) -> auto const& { return of(i).kept(); });
        softmax_attention<H>(be, sequences_, q, tiles{*this, owners}, y);
    }

private:
    /// The positions of a sequence, page by page (backend/operations.hpp, softmax_attention).
    struct tiles {
        own_keys const& keys;
        page_owners const& owners;

        std::size_t positions(std::size_t i) const { return keys.of(i).kept().size(); }
        std::size_t owner(std::size_t i, std::size_t tile) const { return owners(i, tile); }
        template <class Use>
        void read(Backend const& be, std::size_t i, std::size_t tile, Use const& use) const {
            std::size_t const first = tile * page_positions;
            keys.of(i).read(be, first, std::min(page_positions, positions(i) - first), use);
        }
    };

    Rows& of(std::size_t i) const { return rows_of_[i][block_]; }

    batch<S> const& sequences_;
    Rows* const* rows_of_;
    std::size_t block_;
};

/// What a block without keys of its own keeps in their place.
struct no_rows {};

}  // namespace goldfinch::detail
