// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include <goldfinch/backend/cpu.hpp>
#include <goldfinch/cache/attend.hpp>
#include <goldfinch/cache/pages.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/layer/parameter.hpp>
#include <goldfinch/view.hpp>

namespace goldfinch::detail {

/// What compressed_keys and full_keys have in common: a token id and Width values a position. Keys and values of the GOLD
/// blocks are made from them when they are read.
///
/// Source is the model's side of it: embed, expand and key_value (model.hpp).
template <class Backend, class Source, class Value, std::size_t Width>
class token_rows {
public:
    using S = typename Backend::scalar;
    static constexpr std::size_t D = Source::width;
    static constexpr bool scaled = std::is_integral_v<Value>;  // integers carry a scale a row

    std::size_t size() const { return pages_.size(); }
    std::size_t bytes() const { return pages_.bytes(); }
    void reserve(std::size_t n) { pages_.reserve(n); }

    /// Makes it n rows, to be read by transfer.
    void resize(std::size_t n) {
        pages_.reserve(n);
        pages_.grow(n);
    }
    /// Passes all rows through an archive, which reads or writes them.
    static void transfer(auto& self, auto& archive) {
        self.pages_.runs(0, self.size(), [&](page& p, std::size_t, std::size_t count, std::size_t) {
            archive.bytes(p.ids.data(), count * sizeof(id));
            archive.bytes(p.values.data(), count * Width * sizeof(Value));
            if constexpr (scaled) archive.bytes(p.scales.data(), count * sizeof(float));
        });
    }
    /// Bytes that transfer moves: for a row, and besides.
    static constexpr std::size_t fixed_bytes = 0;
    static constexpr std::size_t row_bytes = sizeof(std::uint16_t) * (Source::vocab_size <= 65536 ? 1 : 2) + Width * sizeof(Value) +
                                             (scaled ? sizeof(float) : 0);
    /// Whether every token id is one of the vocabulary's.
    bool valid() const {
        bool ok = true;
        pages_.runs(0, size(), [&](page const& p, std::size_t, std::size_t count, std::size_t) {
            for (std::size_t i = 0; i < count; ++i) ok = ok && p.ids[i] < Source::vocab_size;
        });
        return ok;
    }

protected:
    using id = std::conditional_t<Source::vocab_size <= 65536, std::uint16_t, std::uint32_t>;
    struct alignas(alignment) page {
        static constexpr std::size_t rows = 512;
        std::array<Value, rows * Width> values;
        std::array<id, rows> ids;
        std::array<float, scaled ? rows : 1> scales;
    };

    void append_rows(Backend const& be, std::span<token const> tokens, inputs<Backend, Width> x) {
        std::size_t const first = size();
        reserve(first + tokens.size());
        pages_.runs(first, tokens.size(), [&](page& p, std::size_t row, std::size_t count, std::size_t at) {
            for (std::size_t i = 0; i < count; ++i) p.ids[row + i] = static_cast<id>(tokens[at + i]);
            pack(be, x.rows(at, count), sequence<Value, Width>{p.values.data() + row * Width, count}, p.scales.data() + (scaled ? row : 0));
        });
        pages_.grow(first + tokens.size());
    }
    void read_rows(Backend const& be, std::size_t first, std::size_t n, outputs<Backend, Width> x) const {
        pages_.runs(first, n, [&](page const& p, std::size_t row, std::size_t count, std::size_t at) {
            unpack(be, sequence<Value const, Width>{p.values.data() + row * Width, count}, p.scales.data() + (scaled ? row : 0), x.rows(at, count));
        });
    }
    /// e_s of n positions from `first` on: [n, D]
    void read_embeddings(Backend const& be, Source const& source, std::size_t first, std::size_t n, outputs<Backend, D> e) const {
        temporaries tmp(be);
        token* const tokens = tmp.array<token>(n);
        pages_.runs(first, n, [&](page const& p, std::size_t row, std::size_t count, std::size_t at) {
            for (std::size_t i = 0; i < count; ++i) tokens[at + i] = p.ids[row + i];
        });
        source.embed(be, std::span<token const>(tokens, n), e);
    }

    /// Attention of one GOLD block, where keys(be, first, e, k) makes k_s of the positions of e from `first` on, in k or elsewhere, and
    /// returns where they are.
    template <std::size_t H, class Keys>
    void attend_with(Backend const& be, Source const& source, std::size_t block, inputs<Backend, D> q, std::size_t q_position, Keys const& keys,
                     outputs<Backend, D> y) const {
        attend_tiles<H>(be, q, q_position, size(), [&](Backend const& worker, std::size_t first, std::size_t count, auto const& use) {
            temporaries tmp(worker);
            // The token shifts look one position back; before the very first there are zeros.
            std::size_t const back = first > 0 ? 1 : 0;
            auto const e = tmp.sequence<S, D>(count + back), room = tmp.sequence<S, D>(count + back);
            read_embeddings(worker, source, first - back, count + back, e);
            inputs<Backend, D> const k = keys(worker, first - back, e, room);
            rms_norm(worker, e, e);
            auto const K = tmp.sequence<S, D>(count), V = tmp.sequence<S, D>(count);
            input_row<Backend, D> const zeros = source.zeros(), o_prev{e.data}, k_prev{k.data};
            source.key_value(worker, block, first, back ? o_prev : zeros, e.from(back), back ? k_prev : zeros, k.from(back), K, V);
            use(K, V);
        }, y);
    }

private:
    paged<page> pages_;
};

}  // namespace goldfinch::detail
