// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include <goldfinch/backend/cpu/executor.hpp>
#include <goldfinch/backend/cpu/rows.hpp>
#include <goldfinch/batch.hpp>
#include <goldfinch/cache/pages.hpp>
#include <goldfinch/view.hpp>

namespace goldfinch::detail {

/// n uninitialised elements in scratch memory, until the end of the scope.
template <class T>
class cpu_array {
public:
    cpu_array(cpu_executor const& at, std::size_t n) : at_(at), top_(at.call->top(at)), data_(static_cast<T*>(at.call->take(at, n * sizeof(T)))) {
        static_assert(std::is_trivially_copyable_v<T>);
    }
    cpu_array(cpu_array const&) = delete;
    cpu_array& operator=(cpu_array const&) = delete;
    ~cpu_array() { at_.call->release(at_, top_); }

    T* data() const { return data_; }
    T& operator[](std::size_t i) const { return data_[i]; }

private:
    cpu_executor const& at_;
    cpu_executor::mark top_;
    T* data_;
};

/// The schedule of softmax_attention on CPUs, for backends with
///
///     clear_sums(be, sums)                          sums of no keys
///     attend_tile(be, q, offset, K, V, sums)        adds keys and values to the sums of the queries q, of which query i sees the first offset + i keys
///     merge_sums(be, parts, count, heads, y)        joins sums over disjoint keys, in order, and divides
///
/// A tile that several sequences share is read once for all of them. Tiles are dealt by position, in turn, to a fixed number of partial sums, which are
/// joined in order, so that results depend neither on threads nor on the positions that come later.
template <std::size_t H, class Backend, std::size_t A, class Tiles>
void attend_by_tiles(Backend const& be, batch<typename Backend::scalar> const& of, sequence<typename Backend::scalar const, A> q, Tiles const& tiles,
                     sequence<typename Backend::scalar, A> y) {
    using S = typename Backend::scalar;
    constexpr std::size_t most_parts = 16;

    // Sequences that share their first tile are a family, named by its owner: what they share is found among them.
    struct family {
        std::size_t owner, tiles, parts, rows, first_sum;
    };
    cpu_array<family> const families(be, of.size);
    cpu_array<std::size_t> const family_of(be, of.size), row_in_family(be, of.size);
    std::size_t n_families = 0, n_sums = 0;
    for (std::size_t i = 0; i < of.size; ++i) {
        std::size_t const owner = tiles.owner(i, 0);
        std::size_t const f = owner == i ? n_families++ : family_of[owner];
        if (owner == i) families[f] = {i, 0, 0, 0, 0};
        family_of[i] = f;
        row_in_family[i] = families[f].rows;
        families[f].rows += of.rows(i);
        families[f].tiles = std::max(families[f].tiles, (tiles.positions(i) + page_positions - 1) / page_positions);
    }
    for (std::size_t f = 0; f < n_families; ++f) {
        families[f].parts = std::min(families[f].tiles, most_parts);
        families[f].first_sum = n_sums;
        n_sums += families[f].parts * families[f].rows;
    }
    cpu_array<S> const max(be, n_sums * H), total(be, n_sums * H), value(be, n_sums * A);
    auto const sums_at = [&](std::size_t first, std::size_t n) {
        return attention_sums<S>{{max.data() + first * H, n, H, H}, {total.data() + first * H, n, H, H}, {value.data() + first * A, n, A, A}};
    };

    parallel(be, n_families * most_parts, [&](Backend const& worker, std::size_t task) {
        family const& f = families[task / most_parts];
        std::size_t const part = task % most_parts;
        if (part >= f.parts) return;
        clear_sums(worker, sums_at(f.first_sum + part * f.rows, f.rows));
        for (std::size_t tile = part; tile < f.tiles; tile += most_parts)
            for (std::size_t owner = f.owner; owner < of.size; ++owner) {
                std::size_t const first = tile * page_positions;
                if (family_of[owner] != task / most_parts || first >= tiles.positions(owner) || tiles.owner(owner, tile) != owner) continue;
                tiles.read(worker, owner, tile, [&](auto const& K, auto const& V) {
                    for (std::size_t i = owner; i < of.size; ++i) {
                        if (family_of[i] != family_of[owner] || first >= tiles.positions(i) || tiles.owner(i, tile) != owner) continue;
                        // The keys up to the first query's own, counted from the tile's first; where there are none, the first queries see nothing.
                        std::size_t const position = tiles.positions(i) - of.rows(i);
                        std::size_t const hidden = first > position ? std::min(of.rows(i), first - position) : 0;
                        std::size_t const n = of.rows(i) - hidden;
                        if (n == 0) continue;
                        attend_tile(worker, q.rows(of.first[i] + hidden, n), position + hidden + 1 - first, K, V,
                                    sums_at(f.first_sum + part * f.rows + row_in_family[i] + hidden, n));
                    }
                });
            }
    });
    for (std::size_t i = 0; i < of.size; ++i) {
        family const& f = families[family_of[i]];
        attention_sums<S> parts[most_parts];
        for (std::size_t part = 0; part < f.parts; ++part) parts[part] = sums_at(f.first_sum + part * f.rows + row_in_family[i], of.rows(i));
        merge_sums(be, parts, f.parts, H, y.rows(of.first[i], of.rows(i)));
    }
}

}  // namespace goldfinch::detail
