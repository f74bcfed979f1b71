// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <goldfinch/batch.hpp>
#include <goldfinch/cache/pages.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/layer/state.hpp>
#include <goldfinch/layer/weights.hpp>
#include <goldfinch/view.hpp>

namespace goldfinch::detail {

/// What compressed_keys and full_keys have in common: a token id and Width values a position, in 8 bits with a scale a position where
/// Value is an integer. The keys and values of the GOLD blocks are made from them when they are read.
template <class Backend, class Source, class Value, std::size_t Width>
class token_keys {
    using S = typename Backend::scalar;
    using id = std::conditional_t<Source::vocab_size <= 65536, std::uint16_t, std::uint32_t>;
    static constexpr bool scaled = std::is_integral_v<Value>;
    enum plane { ids, values, scales };

public:
    using rows = pages<Backend, sizeof(id), Width * sizeof(Value), scaled ? sizeof(float) : 0>;
    using state = no_state;
    static constexpr std::size_t D = Source::width;
    static constexpr std::size_t row_bytes = rows::row_bytes;

    std::size_t size() const { return rows_.size(); }
    std::size_t bytes() const { return rows_.bytes(); }
    void reserve(std::size_t n) { rows_.reserve(n); }
    void resize(std::size_t n) {
        rows_.reserve(n);
        rows_.grow(n);
    }
    static void transfer(auto& self, auto& archive) { rows::transfer(self.rows_, archive); }
    bool valid() const {
        bool ok = true;
        rows::runs(0, size(), [&](std::size_t position, std::size_t count, std::size_t) {
            std::array<id, page_positions> host;
            Backend::download(rows_.template row<id>(ids, position), host.data(), count * sizeof(id));
            for (std::size_t i = 0; i < count; ++i) ok = ok && host[i] < Source::vocab_size;
        });
        return ok;
    }

    rows const& kept() const { return rows_; }

    /// Adds positions: a token and its x [T, Width] each.
    void append_rows(Backend const& be, std::span<token const> tokens, inputs<Backend, Width> x) {
        std::size_t const first = size();
        reserve(first + tokens.size());
        rows::runs(first, tokens.size(), [&](std::size_t position, std::size_t count, std::size_t at) {
            std::array<id, page_positions> host;
            for (std::size_t i = 0; i < count; ++i) host[i] = static_cast<id>(tokens[at + i]);
            Backend::upload(rows_.template row<id>(ids, position), host.data(), count * sizeof(id));
            pack(be, x.rows(at, count), sequence<Value, Width>{rows_.template row<Value>(values, position), count},
                 rows_.template row<float>(scales, position));
        });
        rows_.grow(first + tokens.size());
    }
    /// The values of n positions from `first` on: x [n, Width].
    void read_rows(Backend const& be, std::size_t first, std::size_t n, outputs<Backend, Width> x) const {
        rows::runs(first, n, [&](std::size_t position, std::size_t count, std::size_t at) {
            unpack(be, sequence<Value const, Width>{rows_.template row<Value>(values, position), count},
                   rows_.template row<float>(scales, position), x.rows(at, count));
        });
    }
    /// Their embeddings e [n, D].
    void read_embeddings(Backend const& be, Source const& source, std::size_t first, std::size_t n, outputs<Backend, D> e) const {
        rows::runs(first, n, [&](std::size_t position, std::size_t count, std::size_t at) {
            source.embeddings(be, std::span<id const>(rows_.template row<id>(ids, position), count), e.rows(at, count));
        });
    }

private:
    rows rows_;
};

/// One run of a batch through the blocks above token_cat, which make their keys and values of a page at a time. `Store` is a token_keys
/// with make_keys(be, source, first, e, k), which makes the shared keys k [n, D] of the positions of e [n, D] from `first` on, and
/// keys_cost_work, whether that is more than reading them.
///
/// All blocks read the same key stream. Where it costs work to make, as much of it as fits in a bounded temporary is made once for all of
/// them; the rest is made again for each block. A page that sequences share is made once for all of them.
template <class Backend, class Source, class Store>
class token_keys_pass {
    using S = typename Backend::scalar;
    static constexpr std::size_t D = Source::width;
    static constexpr std::size_t most_slots = std::max<std::size_t>(1, Backend::most_kept_bytes / (page_positions * D * sizeof(S)));

public:
    token_keys_pass(Backend const& be, Source const& source, batch<S> const& sequences, Store const* const* stores)
        : source_(source),
          sequences_(sequences),
          stores_(stores),
          owners_(sequences.size, [&](std::size_t i) -> auto const& { return stores[i]->kept(); }),
          slots_(assign_slots()),
          kept_(temporary<D>(be, slots_.size() * page_positions)) {
        if (slots_.empty()) return;
        auto const kept = outputs<Backend, D>(kept_);
        parallel(be, slots_.size(), [&](Backend const& worker, std::size_t at) {
            auto const [i, page] = slots_[at];
            std::size_t const first = page * page_positions, n = page_rows(i, page);
            auto const e = temporary<D>(worker, n);
            stores_[i]->read_embeddings(worker, source_, first, n, e);
            stores_[i]->make_keys(worker, source_, first, e, kept.rows(at * page_positions, n));
        });
    }

    /// What the block-th block above token_cat attends to.
    class block_keys {
    public:
        explicit block_keys(token_keys_pass const& pass) : pass_(pass) {}

        /// The sequences whose rows x is made of; their positions are those of x.
        batch<S> const& sequences() const { return pass_.sequences_; }

        /// Softmax attention of Mixer's heads: y [T, D] from the queries q [T, D], each to every position of its sequence up to its own.
        /// Keys and values are those that Mixer::key_value makes with its weights p.
        template <class Mixer, class Weights>
        void attend(Backend const& be, Weights const& p, inputs<Backend, D> q, outputs<Backend, D> y) const {
            constexpr std::size_t heads = Mixer::H;  // Clang 14 takes a dependent name here for no template's argument
            softmax_attention<heads>(be, sequences(), q, tiles<Mixer, Weights>{pass_, p}, y);
        }

    private:
        token_keys_pass const& pass_;
    };
    block_keys block(std::size_t) const { return block_keys(*this); }

private:
    /// A page whose shared keys are kept for this pass.
    struct slot {
        std::size_t sequence, page;
    };

    /// Positions on a page.
    std::size_t page_rows(std::size_t i, std::size_t page) const { return std::min(page_positions, stores_[i]->size() - page * page_positions); }

    /// The pages whose shared keys are kept for this pass, each of one owner.
    std::vector<slot> assign_slots() {
        std::vector<slot> result;
        first_slot_.resize(sequences_.size);
        if constexpr (Store::keys_cost_work) {
            for (std::size_t i = 0; i < sequences_.size; ++i) {
                first_slot_[i] = result.size();
                std::size_t const n = (stores_[i]->size() + page_positions - 1) / page_positions;
                for (std::size_t page = owners_.shared(i); page < n && result.size() < most_slots; ++page) result.push_back({i, page});
            }
        }
        return result;
    }
    /// The kept keys of a page, or nothing.
    S* find_kept(std::size_t i, std::size_t page) const {
        i = owners_(i, page);
        std::size_t const at = first_slot_[i] + page - owners_.shared(i);
        if (at >= slots_.size() || slots_[at].sequence != i || slots_[at].page != page) return nullptr;
        return kept_[at * page_positions];
    }

    template <class Mixer, class Weights>
    struct tiles {
        token_keys_pass const& pass;
        Weights const& p;

        std::size_t positions(std::size_t i) const { return pass.stores_[i]->size(); }
        std::size_t owner(std::size_t i, std::size_t tile) const { return pass.owners_(i, tile); }

        template <class Use>
        void read(Backend const& be, std::size_t i, std::size_t tile, Use const& use) const {
            Store const& store = *pass.stores_[i];
            // The token shifts look one position back; before the very first there are zeros.
            std::size_t const first = tile * page_positions, n = pass.page_rows(i, tile), back = tile > 0 ? 1 : 0;
            auto const zeros = temporary<D>(be, 1), o = temporary<D>(be, n + back), made = temporary<D>(be, n + back);
            auto const K = temporary<D>(be, n), V = temporary<D>(be, n);
            clear(be, zeros);
            store.read_embeddings(be, pass.source_, first - back, n + back, o);

            S *k = made[back], *k_before = back > 0 ? made[0] : zeros[0];
            S *const kept = pass.find_kept(i, tile), *const kept_before = back > 0 ? pass.find_kept(i, tile - 1) : zeros[0];
            if (kept != nullptr && kept_before != nullptr) {
                k = kept;
                if (back > 0) k_before = kept_before + (page_positions - 1) * D;
            } else {
                store.make_keys(be, pass.source_, first - back, o, made);
            }
            rms_norm(be, o, o);

            // As states: what the shifts find before the first row.
            single<S> const before_o(back > 0 ? o[0] : zeros[0], n, first), before_k(k_before, n, first);
            Mixer::key_value(be, p, before_o, before_o.template state<Backend, D>(), inputs<Backend, D>(o).from(back),
                             before_k.template state<Backend, D>(), inputs<Backend, D>{k, n}, K, V);
            use(inputs<Backend, D>(K), inputs<Backend, D>(V));
        }
    };

    Source const& source_;
    batch<S> const& sequences_;
    Store const* const* stores_;
    page_owners owners_;
    std::vector<std::size_t> first_slot_;
    std::vector<slot> slots_;
    decltype(temporary<D>(std::declval<Backend const&>(), 0)) kept_;
};

}  // namespace goldfinch::detail
