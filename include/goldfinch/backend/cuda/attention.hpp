// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <tuple>
#include <type_traits>
#include <vector>

#include <goldfinch/backend/cuda.hpp>
#include <goldfinch/backend/cuda/kernels.hpp>
#include <goldfinch/backend/cuda/list.hpp>
#include <goldfinch/batch.hpp>
#include <goldfinch/cache/pages.hpp>
#include <goldfinch/view.hpp>

// softmax_attention (operations.hpp) of cuda<Weight>. Pages are dealt by position, in turn, to a fixed number of partial sums of a query, which are joined
// in order, so that results depend neither on how many pages a kernel gets nor on the positions that come later. What lies in caches is collected and
// attended to by one kernel; keys and values in scratch memory, which end with their slab, at once.

namespace goldfinch {

namespace detail {

/// What is to be attended to, with keys and values of one type.
template <class Value>
class cuda_attention_work {
public:
    /// Of a chain number: what has the same number goes into the same sums, one after another.
    void add(std::size_t chain, cuda_attended<Value> const& what) { entries_.push_back({chain, what}); }

    /// Attends to all of it.
    void run(cuda_executor const& at, std::size_t heads, cuda_rows<float const> q, cuda_attention_sums sums) {
        if (entries_.empty()) return;
        std::stable_sort(entries_.begin(), entries_.end(), [](entry const& a, entry const& b) { return a.chain < b.chain; });
        std::vector<cuda_attended<Value>> attended;
        std::vector<cuda_chain> found_chains;
        std::size_t most_queries = 0;
        for (std::size_t i = 0; i < entries_.size(); ++i) {
            if (i == 0 || entries_[i].chain != entries_[i - 1].chain) found_chains.push_back({static_cast<unsigned>(i), static_cast<unsigned>(i)});
            ++found_chains.back().end;
            attended.push_back(entries_[i].what);
            most_queries = std::max<std::size_t>(most_queries, entries_[i].what.queries);
        }
        entries_.clear();
        cuda_list<cuda_attended<Value>> const attended_there(at, attended);
        cuda_list<cuda_chain> const chain_list(at, found_chains);
        cuda_value_kernels<Value>::attend(at, heads, q, attended_there.data(), chain_list.data(), found_chains.size(), most_queries, sums);
    }

private:
    struct entry {
        std::size_t chain;
        cuda_attended<Value> what;
    };
    std::vector<entry> entries_;
};

}  // namespace detail

template <std::size_t H, class Weight, std::size_t A, class Tiles>
void softmax_attention(cuda<Weight> const& be, batch<float> const& of, as<sequence<float const, A>> q, Tiles const& tiles, sequence<float, A> y) {
    static_assert(A / H <= 256, "goldfinch: cuda attends with a head_size of at most 256");
    constexpr std::size_t most_parts = 16;
    using detail::page_positions;

    // The sums of a sequence: `parts` for each of its queries, all of a part together.
    std::vector<std::size_t> first_sum(of.size), n_parts(of.size);
    std::vector<detail::cuda_parts> merged;
    std::size_t n_sums = 0;
    for (std::size_t i = 0; i < of.size; ++i) {
        first_sum[i] = n_sums;
        n_parts[i] = std::min((tiles.positions(i) + page_positions - 1) / page_positions, most_parts);
        for (std::size_t t = 0; t < of.rows(i); ++t)
            merged.push_back({static_cast<unsigned>(n_sums + t), static_cast<unsigned>(n_parts[i]), static_cast<unsigned>(of.rows(i)), static_cast<unsigned>(of.first[i] + t)});
        n_sums += n_parts[i] * of.rows(i);
    }
    if (merged.empty()) return;
    auto const largest = temporary<H>(be, n_sums), total = temporary<H>(be, n_sums);
    auto const value = temporary<A>(be, n_sums);
    detail::cuda_attention_sums const sums{largest.data, total.data, value.data};
    detail::cuda_rows<float const> const queries{q.data, q.size, q.stride, A};
    detail::cuda_attention_kernels<>::clear(be, n_sums, H, A, sums);

    detail::cuda_attention_work<float> floats;
    detail::cuda_attention_work<bf16> halves;
    // A sequence's tiles come in order: those that it shares belong to sequences before it.
    for (std::size_t owner = 0; owner < of.size; ++owner)
        for (std::size_t next = 0; next * page_positions < tiles.positions(owner);) {
            std::size_t const slab = next++;
            if (tiles.owner(owner, slab) != owner) continue;
            tiles.read(be, owner, slab, [&]<class Value>(sequence<Value, A> const& K, as<sequence<Value, A>> const& V) {
                auto& work = std::get<detail::cuda_attention_work<std::remove_const_t<Value>>&>(std::tie(floats, halves));
                next = slab + (K.size + page_positions - 1) / page_positions;
                for (std::size_t tile = slab; tile < next; ++tile) {
                    std::size_t const first = tile * page_positions, before = first - slab * page_positions, n = std::min(page_positions, K.size - before);
                    for (std::size_t i = owner; i < of.size; ++i) {
                        if (first >= tiles.positions(i) || tiles.owner(i, tile) != owner) continue;
                        // The keys up to the first query's own, counted from the tile's first; where there are none, the first queries see nothing.
                        std::size_t const position = tiles.positions(i) - of.rows(i);
                        std::size_t const hidden = first > position ? std::min(of.rows(i), first - position) : 0;
                        if (hidden == of.rows(i)) continue;
                        std::size_t const part = tile % most_parts;
                        work.add(i * most_parts + part,
                                 {K[before], V[before], K.stride, V.stride, static_cast<unsigned>(n), static_cast<unsigned>(of.first[i] + hidden),
                                  static_cast<unsigned>(of.rows(i) - hidden), static_cast<unsigned>(position + hidden + 1 - first),
                                  static_cast<unsigned>(first_sum[i] + part * of.rows(i) + hidden)});
                    }
                }
                if (be.memory->has(K.data)) floats.run(be, H, queries, sums), halves.run(be, H, queries, sums);
            });
        }
    floats.run(be, H, queries, sums);
    halves.run(be, H, queries, sums);
    detail::cuda_list<detail::cuda_parts> const parts(be, merged);
    detail::cuda_attention_kernels<>::merge(be, H, sums, parts.data(), merged.size(), detail::device_rows(y));
}

}  // namespace goldfinch
