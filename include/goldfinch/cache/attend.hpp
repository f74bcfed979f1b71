// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

#include <goldfinch/backend/attention_sums.hpp>
#include <goldfinch/backend/cpu.hpp>
#include <goldfinch/layer/parameter.hpp>
#include <goldfinch/view.hpp>

namespace goldfinch::detail {

/// Positions whose keys and values are made and read together: enough for matrix products, few enough for the L2 cache.
inline constexpr std::size_t tile_positions = 64;

/// Attention over n cached positions, tile by tile with an online softmax: y [T, A] from q [T, A], whose first row is the query
/// at q_position. tile(be, first, count, use) makes the keys and values of `count` positions from `first` on and calls
/// use(K, V). The tiles are dealt to a fixed number of partial sums, joined in order, so that threads do not change results.
template <std::size_t H, class Backend, std::size_t A, class Tile>
void attend_tiles(Backend const& be, sequence<typename Backend::scalar const, A> q, std::size_t q_position, std::size_t n, Tile const& tile,
                  outputs<Backend, A> y) {
    using S = typename Backend::scalar;
    using sums = attention_sums<S, H, A>;
    constexpr std::size_t most_parts = 16;

    temporaries tmp(be);
    std::size_t const tiles = (n + tile_positions - 1) / tile_positions, count = std::min(tiles, most_parts);
    sums* const parts = tmp.array<sums>(count);
    for (std::size_t i = 0; i < count; ++i)
        parts[i] = {tmp.sequence<S, H>(q.size), tmp.sequence<S, H>(q.size), tmp.sequence<S, A>(q.size)};

    parallel(be, count, [&](Backend const& worker, std::size_t i) {
        clear(worker, parts[i]);
        for (std::size_t t = i * tiles / count; t < (i + 1) * tiles / count; ++t) {
            std::size_t const first = t * tile_positions;
            tile(worker, first, std::min(tile_positions, n - first),
                 [&](auto const& k, auto const& v) { attend(worker, q, q_position, k, v, first, parts[i]); });
        }
    });
    merge(be, std::span<sums const>(parts, count), y);
}

}  // namespace goldfinch::detail
