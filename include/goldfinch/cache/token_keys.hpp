// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>

#include <goldfinch/batch.hpp>
#include <goldfinch/cache/pages.hpp>
#include <goldfinch/cache/working_set.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/detail/run_memory.hpp>
#include <goldfinch/layer/state.hpp>
#include <goldfinch/layer/weights.hpp>
#include <goldfinch/numeric.hpp>
#include <goldfinch/view.hpp>

namespace goldfinch::detail {

/// What compressed_keys and full_keys have in common: a token id and Width values x a position, in 8 bits with a scale a position where
/// Value is an integer. The keys and values of the GOLD blocks are made from them when they are read, and kept in the model's working set while there
/// is room.
template <class Backend, class Source, class Value, std::size_t Width>
class token_keys {
    using S = typename Backend::scalar;
    using id = std::conditional_t<Source::vocab_size <= 65536, std::uint16_t, std::uint32_t>;
    static constexpr bool scaled = std::is_integral_v<Value>;
    enum plane { ids, values, scales };

public:
    using rows = pages<Backend, typename working_set<Backend>::place, sizeof(id), Width * sizeof(Value), scaled ? sizeof(float) : 0>;
    /// What rebuilt keys and values are before they are used, whether they are kept or not.
    using rebuilt = std::conditional_t<std::is_same_v<Value, float> || !Backend::keeps_rebuilt, S, bf16>;
    using state = no_state;
    static constexpr std::size_t D = Source::width, width = Width;
    static constexpr std::size_t row_bytes = rows::row_bytes;
    static constexpr std::size_t rebuilt_bytes = 2 * Source::n_gold * D * sizeof(rebuilt);

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

    /// A position's token, of a backend whose memory is the host's.
    std::size_t token_at(std::size_t position) const { return *rows_.template row<id>(ids, position); }
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
            source.look_up(be, std::span<id const>(rows_.template row<id>(ids, position), count), e.rows(at, count));
        });
        source.normalise(be, e);
    }

private:
    rows rows_;
};

/// One run of a batch through the blocks above token_cat, which attend to keys and values page by page. `Store` is a token_keys and says whether its values are
/// shared keys, in `keeps_shared_keys`, or compressed ones.
///
/// The keys and values of all blocks stay in the model's working set where it has room. Those of other pages are made again for each block from the
/// pages' embeddings and shared keys, of which as many as fit in a bounded temporary are made once for all blocks. They are made a slab at a time: pages of a
/// sequence that follow one another. What sequences share is made once for all of them. The part of a shared key that depends on its token alone is kept in
/// the working set's table for pages that it has no room for. A row is the same to the last bit with whatever others it is made, so
/// that logits do not depend on what is kept.
template <class Backend, class Source, class Store>
class token_keys_pass {
    using S = typename Backend::scalar;
    using rebuilt = typename Store::rebuilt;
    using set = working_set<Backend>;
    static constexpr std::size_t D = Source::width, G = Source::n_gold;
    static constexpr std::size_t none = std::size_t(-1);
    static constexpr bool has_table = !Store::keeps_shared_keys && Source::has_parts && Backend::on_host;
    /// Rows of o, or of k, in the temporary for all blocks, pages of a slab, and rows whose sources are made at once where several slabs' are.
    static constexpr std::size_t most_source_rows = Backend::most_kept_bytes / (2 * D * sizeof(S)), most_slab_pages = 64, most_rows_at_once = 512;

    /// A page, of the sequence that owns it.
    struct page {
        std::size_t sequence, index;
        std::shared_ptr<typename set::memory> memory = {};  // K and V [page_positions, D] of every block in the working set, or null
        bool found = false;                                 // memory was there before
        std::size_t filled = 0;                             // how many of its rows were filled, for all blocks
        std::size_t blocks = 0;                             // how many blocks' other rows have been filled
        std::size_t slab = none;                            // which one makes its other rows
    };
    /// Pages, from the first-th on, whose rows that are not filled follow one another. Either all have memory in the working set or none has.
    struct slab {
        std::size_t first, size;
        std::size_t rows;           // that are not filled
        std::size_t source = none;  // where in `sources_` is what they are made from
    };

public:
    token_keys_pass(Backend const& be, Source const& source, batch<S> const& sequences, Store const* const* stores)
        : source_(source),
          sequences_(sequences),
          stores_(stores),
          owners_(sequences.size, [&](std::size_t i) -> auto const& { return stores[i]->kept(); }),
          pages_(*this),
          slabs_(make_slabs(std::clamp<std::size_t>(be.most_rebuilt_bytes / (2 * page_positions * D * sizeof(S)), 1, most_slab_pages))),
          sources_(temporary<D>(be, assign_sources())) {
        for (std::size_t first = 0, end = 0; first < with_source_; first = end) {
            std::size_t rows = 0;
            do rows += 1 + slabs_[end++].rows;
            while (end < with_source_ && rows + 1 + slabs_[end].rows <= most_rows_at_once && is_kept(slabs_[end]) == is_kept(slabs_[first]));
            slab const& of = slabs_[first];
            make_sources(rebuilds(be), std::span<slab const>(slabs_).subspan(first, end - first), {o_of(of).data, rows}, {k_of(of).data, rows});
        }
    }

    /// What the block-th block above token_cat attends to.
    class block_keys {
    public:
        block_keys(token_keys_pass const& pass, std::size_t block) : pass_(pass), block_(block) {}

        /// The sequences whose rows x is made of; their positions are those of x.
        batch<S> const& sequences() const { return pass_.sequences_; }

        /// Softmax attention of Mixer's heads: y [T, D] from the queries q [T, D], each to every position of its sequence up to its own.
        /// Keys and values are those that Mixer::key_value makes with its weights p.
        template <class Mixer, class Weights>
        void attend(Backend const& be, Weights const& p, inputs<Backend, D> q, outputs<Backend, D> y) const {
            constexpr std::size_t heads = Mixer::H;  // Clang 14 takes a dependent name here for no template's argument
            softmax_attention<heads>(be, sequences(), q, tiles<Mixer, Weights>{pass_, block_, p}, y);
        }

    private:
        token_keys_pass const& pass_;
        std::size_t block_;
    };
    block_keys block(std::size_t i) const { return {*this, i}; }

private:
    /// The pages of all sequences. What was made of all blocks' keys and values in this pass stays in the working set.
    struct used_pages {
        token_keys_pass const& of;
        typename set::pass_number number;
        run_vector<page> all;
        run_vector<std::size_t> first;  // of each sequence's own

        explicit used_pages(token_keys_pass const& pass) : of(pass), number(pass.source_.kept->begin_pass()), all(of.source_.lists), first(of.source_.lists) {
            for (std::size_t i = 0; i < of.sequences_.size; ++i) {
                first.push_back(all.size());
                std::size_t const n = (of.stores_[i]->size() + page_positions - 1) / page_positions;
                for (std::size_t index = of.owners_.shared(i); index < n; ++index) all.push_back({i, index});
            }
            // First all that is there, so that nothing of it goes to make room for the rest.
            for (page& at : all) {
                auto const [memory, rows] = of.source_.kept->find(place(at), of.size(at), number);
                at.memory = memory, at.filled = rows, at.found = memory != nullptr;
            }
            for (page& at : all)
                if (!at.found) at.memory = of.source_.kept->take(page_positions * Store::rebuilt_bytes, number);
        }
        used_pages(used_pages const&) = delete;
        used_pages& operator=(used_pages const&) = delete;
        ~used_pages() {
            for (page& at : all) {
                std::size_t const rows = at.blocks == G ? of.size(at) : at.filled;
                if (at.found && at.filled < of.size(at))
                    of.source_.kept->extend(place(at), *at.memory, rows);
                else if (!at.found && at.memory != nullptr && rows > 0)
                    set::keep(of.source_.kept, place(at), at.memory, rows, number);
                else if (!at.found && at.memory != nullptr)
                    of.source_.kept->give_back(at.memory->size());
            }
        }

    private:
        typename set::place& place(page const& at) const { return of.stores_[at.sequence]->kept().attached(at.index); }
    };

    /// What rows are rebuilt with: what is rounded then anyway may be made of rounded activations, as a prompt's is.
    static Backend rebuilds(Backend const& be) {
        if constexpr (!std::is_same_v<rebuilt, S> && requires { rounds_few(be); })
            return rounds_few(batch_invariant(be));
        else
            return batch_invariant(be);
    }
    /// Positions on a page.
    std::size_t size(page const& at) const { return std::min(page_positions, stores_[at.sequence]->size() - at.index * page_positions); }
    page& page_of(std::size_t i, std::size_t index) const {
        i = owners_(i, index);
        return pages_.all[pages_.first[i] + index - owners_.shared(i)];
    }
    /// K (0) or V (1) of a block in the working set's memory.
    sequence<rebuilt, D> kept(page const& at, std::size_t block, std::size_t which) const {
        return {reinterpret_cast<rebuilt*>(at.memory->data()) + (2 * block + which) * page_positions * D, size(at)};
    }

    run_vector<slab> make_slabs(std::size_t most_pages) {
        run_vector<slab> result(source_.lists);
        for (std::size_t i = 0; i < pages_.all.size(); ++i) {
            page& at = pages_.all[i];
            if (at.filled == size(at)) continue;
            bool joins = at.filled == 0 && !result.empty() && result.back().first + result.back().size == i && result.back().size < most_pages;
            joins = joins && pages_.all[i - 1].sequence == at.sequence && (pages_.all[i - 1].memory != nullptr) == (at.memory != nullptr);
            if (!joins) result.push_back({i, 0, 0});
            ++result.back().size, result.back().rows += size(at) - at.filled;
            at.slab = result.size() - 1;
        }
        return result;
    }
    /// Gives the first slabs, as many as there is room for and at least one, rows for their sources; how many rows.
    std::size_t assign_sources() {
        std::size_t total = 0;
        for (; with_source_ < slabs_.size(); ++with_source_) {
            std::size_t const rows = 1 + slabs_[with_source_].rows;
            if (with_source_ > 0 && total + rows > most_source_rows) break;
            slabs_[with_source_].source = total;
            total += rows;
        }
        return 2 * total;
    }
    /// What a slab's keys and values are made from: rows of o and of k, its own behind the one before them, which is zero at the very start.
    outputs<Backend, D> o_of(slab const& of) const { return sources_.rows(of.source, 1 + of.rows); }
    outputs<Backend, D> k_of(slab const& of) const { return sources_.rows(sources_.size / 2 + of.source, 1 + of.rows); }
    /// The position of its first row.
    std::size_t position(slab const& of) const { return pages_.all[of.first].index * page_positions + pages_.all[of.first].filled; }

    bool is_kept(slab const& of) const { return pages_.all[of.first].memory != nullptr; }

    /// o, the rms-normalised embeddings, and k, the shared keys, of slabs, one behind the other. All of them are kept in the working set, or none is.
    void make_sources(Backend const& be, std::span<slab const> of, outputs<Backend, D> o, outputs<Backend, D> k) const {
        constexpr std::size_t X = Store::width;  // Clang 14 takes a dependent name here for no template's argument
        auto const x = temporary<X>(be, o.size);
        std::size_t at = 0;
        for (slab const& each : of) {
            std::size_t const first = position(each), missing = first == 0 ? 1 : 0, n = 1 + each.rows - missing;
            Store const& store = *stores_[pages_.all[each.first].sequence];
            clear(be, o.rows(at, missing));
            clear(be, x.rows(at, missing));
            store.read_embeddings(be, source_, first + missing - 1, n, o.rows(at + missing, n));
            store.read_rows(be, first + missing - 1, n, x.rows(at + missing, n));
            at += missing + n;
        }
        std::size_t const missing = position(of.front()) == 0 ? 1 : 0;  // of a later slab's, the key is made, of zeros
        clear(be, k.first(missing));
        if constexpr (Store::keeps_shared_keys) {
            copy(be, x.from(missing), k.from(missing));
        } else if constexpr (has_table) {
            auto const table = is_kept(of.front()) ? nullptr : source_.kept->use_table(Source::vocab_size, D, pages_.number);
            if (table == nullptr)
                source_.expand_embedding(be, o.from(missing), k.from(missing));
            else
                expand_embeddings(be, *table, of, o, k);
            source_.add_compressed(be, x.from(missing), k.from(missing));
        } else {
            source_.expand(be, o.from(missing), x.from(missing), k.from(missing));
        }
        rms_norm(be, o.from(missing), o.from(missing));
    }

    /// The parts of slabs' keys that depend on tokens alone, y [n, D], from a table or from the embeddings e [n, D], whose parts are then added to the table.
    void expand_embeddings(Backend const& be, typename set::table& table, std::span<slab const> of, inputs<Backend, D> e, outputs<Backend, D> y) const {
        if (e.size > most_rows_at_once) return source_.expand_embedding(be, e, y);
        std::array<std::size_t, most_rows_at_once> tokens, lacking;  // of each row; rows that the table lacks
        std::array<S const*, most_rows_at_once> parts;               // of each row
        std::size_t n = 0, n_lacking = 0;
        for (slab const& each : of) {
            Store const& store = *stores_[pages_.all[each.first].sequence];
            for (std::size_t i = 0; i <= each.rows; ++i, ++n) {
                tokens[n] = position(each) + i == 0 ? none : store.token_at(position(each) + i - 1);
                parts[n] = tokens[n] == none ? nullptr : table.find(tokens[n]);
                if (parts[n] == nullptr) lacking[n_lacking++] = n;
            }
        }
        auto const some_e = temporary<D>(be, n_lacking), some_y = temporary<D>(be, n_lacking);
        for (std::size_t i = 0; i < n_lacking; ++i) copy(be, e.rows(lacking[i], 1), some_e.rows(i, 1));
        source_.expand_embedding(be, some_e, some_y);
        auto const room = [&] { return source_.kept->grow(table, set::table::block_bytes(D)); };
        for (std::size_t i = 0; i < n_lacking; ++i) {
            parts[lacking[i]] = some_y[i];
            if (tokens[lacking[i]] != none) table.add(tokens[lacking[i]], some_y[i], room);
        }
        constexpr std::size_t some = 16;
        parallel(be, (n + some - 1) / some, [&](Backend const&, std::size_t i) {
            for (std::size_t t = i * some; t < std::min(n, (i + 1) * some); ++t) std::copy_n(parts[t], D, y[t]);
        });
    }

    template <class Mixer, class Weights>
    struct tiles {
        token_keys_pass const& pass;
        std::size_t block;
        Weights const& p;

        std::size_t positions(std::size_t i) const { return pass.stores_[i]->size(); }
        std::size_t owner(std::size_t i, std::size_t tile) const { return pass.owners_(i, tile); }

        template <class Use>
        void read(Backend const& be, std::size_t i, std::size_t tile, Use const& use) const {
            page& at = pass.page_of(i, tile);
            auto const use_kept = [&] { use(pass.kept(at, block, 0), pass.kept(at, block, 1)); };
            if (at.slab == none || block < at.blocks) return use_kept();

            slab const& of = pass.slabs_[at.slab];
            auto const K = temporary<D>(be, of.rows), V = temporary<D>(be, of.rows);
            make(token_keys_pass::rebuilds(be), of, K, V);
            if (at.memory != nullptr) {
                std::size_t from = 0;
                for (page& each : std::span(pass.pages_.all).subspan(of.first, of.size)) {
                    std::size_t const n = pass.size(each) - each.filled;
                    round(be, K.rows(from, n), pass.kept(each, block, 0).from(each.filled));
                    round(be, V.rows(from, n), pass.kept(each, block, 1).from(each.filled));
                    if (block == each.blocks) ++each.blocks;
                    from += n;
                }
                return use_kept();
            }
            std::size_t const before = tile * page_positions - pass.position(of);
            if constexpr (std::is_same_v<rebuilt, S>) {
                use(K.from(before), V.from(before));
            } else {
                auto const rounded_K = temporary_of<rebuilt, D>(be, of.rows), rounded_V = temporary_of<rebuilt, D>(be, of.rows);
                round(be, K, rounded_K);
                round(be, V, rounded_V);
                use(rounded_K.from(before), rounded_V.from(before));
            }
        }

    private:
        void make(Backend const& be, slab const& of, outputs<Backend, D> K, outputs<Backend, D> V) const {
            std::size_t const made_here = of.source == none ? 1 + of.rows : 0;
            auto const o_here = temporary<D>(be, made_here), k_here = temporary<D>(be, made_here);
            if (made_here > 0) pass.make_sources(be, {&of, 1}, o_here, k_here);
            outputs<Backend, D> const o = made_here > 0 ? outputs<Backend, D>(o_here) : pass.o_of(of);
            outputs<Backend, D> const k = made_here > 0 ? outputs<Backend, D>(k_here) : pass.k_of(of);
            // As states: what the shifts find before the first row.
            single<S> const before_o(o[0], of.rows, pass.position(of)), before_k(k[0], of.rows, pass.position(of));
            Mixer::key_value(be, p, before_o, before_o.template state<Backend, D>(), o.from(1), before_k.template state<Backend, D>(), k.from(1), K, V);
        }
        static void round(Backend const& be, inputs<Backend, D> x, sequence<rebuilt, D> y) {
            if constexpr (std::is_same_v<rebuilt, S>)
                copy(be, x, y);
            else
                pack(be, x, y, nullptr);
        }
    };

    Source const& source_;
    batch<S> const& sequences_;
    Store const* const* stores_;
    page_owners owners_;
    mutable used_pages pages_;  // their memory is filled while they are attended to, each page by one thread at a time
    run_vector<slab> slabs_;
    std::size_t with_source_ = 0;  // how many of them, the first ones, have their source in `sources_`
    decltype(temporary<D>(std::declval<Backend const&>(), 0)) sources_;
};

}  // namespace goldfinch::detail
