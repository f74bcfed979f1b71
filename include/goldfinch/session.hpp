// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <type_traits>
#include <vector>

#include <goldfinch/config.hpp>
#include <goldfinch/error.hpp>
#include <goldfinch/io/session_file.hpp>
#include <goldfinch/layer/parameter.hpp>
#include <goldfinch/message.hpp>
#include <goldfinch/model.hpp>
#include <goldfinch/softmax.hpp>

namespace goldfinch {

namespace detail {

template <class T>
concept is_model = requires {
    typename T::backend_type;
    typename T::cache_type;
    typename T::stack_type;
    T::cfg;
};

/// What a GOLD block attends to: the g-th block's keys and values in one run through the blocks.
template <class Pass>
struct key_view {
    Pass const& pass;
    std::size_t block;
    std::size_t position;  ///< of the first query

    template <std::size_t H, class Backend, std::size_t A>
    void attend(Backend const& be, sequence<typename Backend::scalar, A> q, outputs<Backend, A> y) const {
        pass.template attend<H>(be, block, q, position, y);
    }
};

}  // namespace detail

/// One sequence: the recurrent state, the key cache, and what is pending. A value: a copy is a fork. It keeps its model alive;
/// many sessions share one model, on many threads, but one session is used by one thread at a time. Calls on one that was moved from throw
/// session_error until it is assigned to.
///
/// Reading tokens takes the blocks below token_cat only. The blocks above run when logits are asked for, on the tokens since
/// the last time, and never on more than the last `window` of them: an output there depends on no more than that and on the
/// key cache (model.md, consequence 3), so nothing is approximated.
template <class Model>
class session {
    static_assert(detail::is_model<Model>, "goldfinch: a session is made from a model, which model<config>::load or model<config>::random returns");

    using backend = typename Model::backend_type;
    using stack = typename Model::stack_type;
    using S = typename backend::scalar;
    static constexpr config cfg = Model::cfg;
    static constexpr std::size_t D = cfg.n_embd, V = cfg.vocab_size, Z = stack::key_width;

public:
    static constexpr std::size_t window = stack::reach + 1;  ///< tokens that logits can cost at most
    /// Bytes that a token adds to what a session keeps: its row of the key cache, and keys and values that blocks keep of their own.
    static constexpr std::size_t cache_bytes_per_token =
        Model::cache::row_bytes + stack::template state<backend, typename Model::cache_type::value>::row_bytes;

    /// A session that has seen nothing.
    explicit session(Model const& lm) : lm_(lm) {}

    /// Restores a session saved by `save`, bit for bit. Throws session_error for a file of another model, cache type or version,
    /// and for one that is missing, cut short or changed.
    session(Model const& lm, std::filesystem::path const& path);

    /// Reads tokens through the blocks below token_cat and compresses their keys: constant time each, whatever came before, unless
    /// blocks attend to keys of their own (gptalpha, llama_attention): then a token's time grows with the position. Throws
    /// token_error for an id outside the vocabulary; then nothing has been read.
    void append(std::span<token const> tokens);

    /// Logits [vocab_size] of the next token. Valid until the next call on this session. Throws session_error on a session that
    /// has seen nothing.
    std::span<float const> logits();

    /// Appends one token; logits of the next.
    std::span<float const> step(token t);

    /// Appends tokens and returns the log-probability (natural) of each, given all before it; with nothing before it the first
    /// is 0. Throws token_error as append does.
    std::vector<double> score(std::span<token const> tokens);

    /// Tokens seen.
    std::size_t position() const {
        check_alive();
        return position_;
    }
    /// Bytes allocated for what grows with the position: the key cache, and keys and values that blocks keep of their own.
    std::size_t cache_bytes() const {
        check_alive();
        std::size_t sum = cache_.bytes();
        state::each_rows(state_, [&](auto const& rows) { sum += rows.bytes(); });
        return sum;
    }
    /// Bytes of everything else a session keeps: states of all blocks, pending rows and logits. The same at any length.
    std::size_t state_bytes() const {
        check_alive();
        return state_size() + hidden_size + window * D * sizeof(S) + V * sizeof(float);
    }

    /// Writes everything that a session is. The file appears when it is complete. Throws session_error.
    void save(std::filesystem::path const& path) const;

private:
    static constexpr std::size_t chunk = 256;  // tokens at once: enough for matrix products, few enough to bound temporaries
    using lease = typename backend::runtime::lease;
    using state = typename stack::template state<backend, typename Model::cache_type::value>;
    using cache = typename Model::cache;
    static constexpr std::size_t hidden_size = D * sizeof(S), row_bytes = cache_bytes_per_token;

    void check(std::span<token const> tokens) const {
        check_alive();
        for (std::size_t i = 0; i < tokens.size(); ++i)
            if (tokens[i] >= V)
                throw token_error(detail::message({"goldfinch: token ", tokens[i], " at index ", i, " is outside the vocabulary of ", V}));
    }

    void check_alive() const {
        if (hidden_.data() == nullptr) throw session_error("goldfinch: this session was moved from");
    }

    /// Runs tokens through the lower blocks and into the key cache; f(index of the chunk's first token, the lower blocks' output).
    template <class F>
    void for_chunks(backend const& be, std::span<token const> tokens, F const& f) {
        cache_.reserve(position_ + tokens.size());
        state::each_rows(state_, [&](auto& rows) { rows.reserve(position_ + tokens.size()); });
        auto const keys = lm_.data_->keys();
        for (std::size_t first = 0; first < tokens.size(); first += chunk) {
            std::span<token const> const part{tokens.data() + first, std::min(chunk, tokens.size() - first)};
            temporaries tmp(be);
            auto const e = tmp.sequence<S, D>(part.size()), x = tmp.sequence<S, D>(part.size());
            keys.embed(be, part, e);
            copy(be, e, x);
            stack::forward_lower(be, lm_.data_->p.blocks, state_, x);
            if constexpr (stack::has_keys) {
                auto const c = tmp.sequence<S, Z>(part.size());
                stack::cat::compress(be, stack::token_cat_weights(lm_.data_->p.blocks), x, c);
                cache_.append(be, keys, part, e, c);
            }
            position_ += part.size();
            logits_.clear();
            f(first, x);
        }
    }

    /// Keeps the last rows for the upper blocks.
    void keep_pending(backend const& be, inputs<backend, D> x) {
        if (recent_.empty()) recent_.resize(window * D);
        outputs<backend, D> const rows{recent_.data(), window};
        std::size_t const fresh = std::min(x.size, window), kept = std::min(pending_, window - fresh);
        cut_ = cut_ || kept < pending_ || fresh < x.size;
        if (kept < pending_) copy(be, rows.rows(pending_ - kept, kept), rows.first(kept));  // moves rows up, in order
        copy(be, x.from(x.size - fresh), rows.rows(kept, fresh));
        pending_ = kept + fresh;
    }

    /// Runs the upper blocks on what is pending; hidden_ is then the last token's row.
    void run_pending(backend const& be) {
        if (pending_ == 0) return;
        temporaries tmp(be);
        auto const x = tmp.sequence<S, D>(pending_);
        copy(be, outputs<backend, D>{recent_.data(), pending_}, x);
        if (cut_) state_.clear_upper();
        run_upper(be, position_ - pending_, x);
        copy(be, x.from(pending_ - 1), outputs<backend, D>{hidden_.data(), 1});
        pending_ = 0;
        cut_ = false;
    }

    /// x [T, D] in place through the upper blocks; its first row is the token at `position`.
    void run_upper(backend const& be, std::size_t position, outputs<backend, D> x) {
        if constexpr (stack::has_keys) {
            auto const keys = lm_.data_->keys();
            typename cache::pass const pass(be, keys, cache_);
            stack::forward_upper(
                be, lm_.data_->p.blocks, state_,
                [&](std::size_t block) {
                    return detail::key_view<typename cache::pass>{pass, block, position};
                },
                x);
        }
    }

    /// logits = head . LN(x; ln_out), rows of V
    void read_logits(backend const& be, inputs<backend, D> x, float* logits) const {
        temporaries tmp(be);
        auto const& p = lm_.data_->p;
        auto const h = tmp.sequence<S, D>(x.size);
        auto const y = tmp.sequence<S, V>(x.size);
        layer_norm(be, p.ln_out.weight, p.ln_out.bias, x, h);
        linear(be, p.head, h, y);
        read(be, y, logits);
    }

    static double log_probability(float const* logits, token t) {
        std::span<float const> const all{logits, V};
        double const max = detail::largest_of(all), sum = detail::sum_of_exp(all, max, 1, [](auto...) {});
        return static_cast<double>(logits[t]) - max - std::log(sum);
    }

    std::size_t state_size() const { return detail::count_elements(state_) * sizeof(S); }
    std::uint64_t payload_size(std::uint64_t position, std::uint64_t pending) const {
        return state_size() + hidden_size + cache::fixed_bytes + pending * D * sizeof(S) + position * row_bytes;
    }

    /// Passes everything through an archive, which reads or writes it.
    static void transfer(auto& self, auto& archive) {
        constexpr bool writing = std::is_const_v<std::remove_reference_t<decltype(self)>>;
        detail::each_state(self.state_, [&](auto* values, std::size_t n) { archive.bytes(values, n * sizeof(S)); });
        archive.bytes(self.hidden_.data(), hidden_size);
        if constexpr (!writing) {
            if (self.pending_ > 0) self.recent_.resize(window * D);
        }
        archive.bytes(self.recent_.data(), self.pending_ * D * sizeof(S));
        state::each_rows(self.state_, [&](auto& rows) { std::remove_cvref_t<decltype(rows)>::transfer(rows, archive); });
        cache::transfer(self.cache_, archive);
    }

    Model lm_;
    state state_;
    cache cache_;
    typename backend::template buffer<S> recent_;                         // [window, D] the lower blocks' output for pending tokens
    state_tensor<backend, static_cast<std::size_t>(cfg.n_embd)> hidden_;  // the upper blocks' output for the last token, when nothing is pending
    std::size_t position_ = 0, pending_ = 0;
    bool cut_ = false;           // tokens before the pending ones never ran through the upper blocks
    std::vector<float> logits_;  // empty: to be computed
};

// Out of the class, where they are not inline: `extern template` then keeps other source files from compiling them, and with them the model.

template <class Model>
session<Model>::session(Model const& lm, std::filesystem::path const& path) : lm_(lm) {
    detail::session_reader file(path, lm_.fingerprints());
    auto const& [magic, version, cut, model, position, pending, payload] = file.header;
    // Nothing is allocated before the sizes are known to agree. The rows of a cache are at least as long as a token id.
    if (pending > std::min<std::uint64_t>(window, position) || (row_bytes > 0 && position > payload / std::max<std::size_t>(1, row_bytes)) ||
        payload != payload_size(position, pending))
        file.fail({position, " tokens, ", pending, " of them pending, do not fit its ", payload, " bytes"});
    position_ = position;
    pending_ = pending;
    cut_ = cut != 0;
    cache_.resize(position_);
    state::each_rows(state_, [&](auto& rows) { rows.resize(position_); });
    transfer(*this, file);
    if (!cache_.valid()) file.fail({"token ids outside the vocabulary"});
}

template <class Model>
void session<Model>::append(std::span<token const> tokens) {
    check(tokens);
    if (tokens.empty()) return;
    lease const work(lm_.data_->runtime);
    backend const be(work.executor());
    for_chunks(be, tokens, [&](std::size_t, outputs<backend, D> x) { keep_pending(be, x); });
}

template <class Model>
std::span<float const> session<Model>::logits() {
    check_alive();
    if (position_ == 0) throw session_error("goldfinch: a session that has seen no token has no logits: append a prompt first");
    if (pending_ > 0 || logits_.empty()) {
        lease const work(lm_.data_->runtime);
        backend const be(work.executor());
        run_pending(be);
        logits_.resize(V);
        read_logits(be, {hidden_.data(), 1}, logits_.data());
    }
    return {logits_.data(), V};
}

template <class Model>
std::span<float const> session<Model>::step(token t) {
    append({&t, 1});
    return logits();
}

template <class Model>
std::vector<double> session<Model>::score(std::span<token const> tokens) {
    check(tokens);
    std::vector<double> result(tokens.size());
    if (tokens.empty()) return result;
    result[0] = position_ > 0 ? log_probability(logits().data(), tokens[0]) : 0;

    lease const work(lm_.data_->runtime);
    backend const be(work.executor());
    for_chunks(be, tokens, [&](std::size_t first, outputs<backend, D> x) {
        run_upper(be, position_ - x.size, x);
        copy(be, x.from(x.size - 1), outputs<backend, D>{hidden_.data(), 1});
        pending_ = 0;
        constexpr std::size_t rows = std::clamp<std::size_t>((std::size_t{1} << 20) / V, 1, chunk);
        for (std::size_t t = 0; t < x.size; t += rows) {
            temporaries tmp(be);
            std::size_t const n = std::min(rows, x.size - t);
            float* const logits = tmp.array<float>(n * V);
            read_logits(be, x.rows(t, n), logits);
            for (std::size_t i = 0; i < n && first + t + i + 1 < tokens.size(); ++i)
                result[first + t + i + 1] = log_probability(logits + i * V, tokens[first + t + i + 1]);
        }
    });
    return result;
}

template <class Model>
void session<Model>::save(std::filesystem::path const& path) const {
    check_alive();
    detail::session_writer file(
        path, {.cut = cut_, .model = lm_.fingerprints(), .position = position_, .pending = pending_, .payload = payload_size(position_, pending_)});
    transfer(*this, file);
    file.commit();
}

}  // namespace goldfinch
