// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <ranges>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <goldfinch/cache/own_keys.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/detail/session_batch.hpp>
#include <goldfinch/error.hpp>
#include <goldfinch/detail/session_file.hpp>
#include <goldfinch/message.hpp>
#include <goldfinch/model.hpp>
#include <goldfinch/logit_sums.hpp>
#include <goldfinch/progress.hpp>

namespace goldfinch {

namespace detail {

template <class T>
concept is_model = requires {
    typename T::backend_type;
    typename T::cache_type;
    typename T::stack_type;
    T::cfg;
};

/// Passes memory of a backend through an archive, which reads or writes memory of the host.
template <class Backend, class Archive>
struct backend_archive {
    Archive& archive;

    void bytes(void* p, std::size_t n) const {
        std::vector<std::byte> host;
        if constexpr (!Backend::on_host) host.resize(n);
        archive.bytes(Backend::on_host ? p : host.data(), n);
        if constexpr (!Backend::on_host) Backend::upload(p, host.data(), n);
    }
    void bytes(void const* p, std::size_t n) const {
        std::vector<std::byte> host;
        if constexpr (!Backend::on_host) host.resize(n), Backend::download(p, host.data(), n);
        archive.bytes(Backend::on_host ? p : host.data(), n);
    }
};

}  // namespace detail

/// One sequence: the recurrent state, the key cache, and what is pending. A value: a copy is a fork. It keeps its model alive;
/// many sessions share one model, on many threads, but one session is used by one thread at a time. Calls on one that was moved from throw
/// session_error until it is assigned to.
///
/// Reading tokens takes the blocks below token_cat only. The blocks above run when logits are asked for, on the tokens since
/// the last time, and never on more than the last `window` of them: an output there depends on no more than that and on the
/// key cache, so nothing is approximated (include/goldfinch/README.md, the life of a token).
template <class Model>
class session {
    static_assert(detail::is_model<Model>, "goldfinch: a session is made from a model, which model<config>::load or model<config>::random returns");

    using backend = typename Model::backend_type;
    using stack = typename Model::stack_type;
    using cache = typename Model::cache;
    using S = typename backend::scalar;
    using work = detail::session_batch<Model>;
    /// Keys and values that a block keeps of its own.
    using own_rows = detail::key_value_rows<backend, typename Model::cache_type::value, stack::width>;
    static constexpr std::size_t V = Model::cfg.vocab_size;

public:
    using model_type = Model;
    static constexpr std::size_t window = stack::reach + 1;  ///< tokens that logits can cost at most
    static constexpr std::size_t tokens_a_pass = backend::tokens_a_pass;  ///< tokens that go through the model together at most: 256 on a CPU
    /// Bytes that a token adds to what a session keeps: its row of the key cache, and keys and values that blocks keep of their own.
    static constexpr std::size_t cache_bytes_per_token = cache::row_bytes + stack::n_own_keys * own_rows::rows::row_bytes;

    /// A session that has seen nothing.
    explicit session(Model const& lm) : lm_(lm), state_(work::make_state(lm)), own_(stack::n_own_keys) {}

    session(session const&) = default;
    session(session&&) = default;
    /// Where there is no memory for the copy, nothing has changed.
    session& operator=(session const& other) {
        session copy(other);
        return *this = std::move(copy);
    }
    session& operator=(session&&) = default;

    /// Restores a session saved by `save`, bit for bit. Throws session_error for a file of another model, cache type or version,
    /// and for one that is missing, cut short or changed.
    session(Model const& lm, std::filesystem::path const& path);

    /// Reads tokens through the blocks below token_cat and compresses their keys: constant time each, whatever came before, unless
    /// blocks attend to keys of their own (gptalpha, llama_attention): then a token's time grows with the position. Throws
    /// token_error for an id outside the vocabulary; then nothing has been read.
    void append(std::span<token const> tokens);

    /// The same, with on_progress(done, total) after every pass of at most tokens_a_pass tokens, the last one too. Where it returns false, no more is read.
    /// Returns how many tokens were read. Cancelled, or when on_progress threw, the session has seen these and can be used as any other; appending the
    /// rest then gives the same bits as one call would. on_progress may look at the session, copy and save it, but append nothing to it.
    template <progress_receiver F>
    std::size_t append(std::span<token const> tokens, F&& on_progress) {
        check_alive();
        work::check(tokens);
        return detail::by_passes(tokens_a_pass, tokens.size(), [&](std::size_t first, std::size_t n) { append(tokens.subspan(first, n)); }, on_progress);
    }

    /// Logits [vocab_size] of the next token. Valid until the next call on this session. Throws session_error on a session that
    /// has seen nothing.
    std::span<float const> logits();

    /// Appends one token; logits of the next.
    std::span<float const> step(token t);

    /// Appends tokens; the logits after each of them: [size, vocab_size], valid until the next call on this session. `logits` are then those
    /// after the last. Up to 16 at once have the bits of as many calls with one (simd). Throws token_error as append does.
    std::span<float const> step(std::span<token const> tokens);

    /// Appends tokens and returns the log-probability (natural) of each, given all before it; with nothing before it the first
    /// is 0. Throws token_error as append does.
    std::vector<double> score(std::span<token const> tokens);

    /// The same, with on_progress as append takes it: where it cancels, the log-probabilities of the tokens that were read, fewer than `tokens`.
    template <progress_receiver F>
    std::vector<double> score(std::span<token const> tokens, F&& on_progress) {
        check_alive();
        work::check(tokens);
        std::vector<double> result(tokens.size());
        auto const read = [&](std::size_t first, std::size_t n) { score_part(tokens, first, n, result.data()); };
        result.resize(detail::by_passes(tokens_a_pass, tokens.size(), read, on_progress));
        return result;
    }

    /// Tokens seen.
    std::size_t position() const {
        check_alive();
        return position_;
    }
    /// Bytes allocated for what grows with the position: the key cache, and keys and values that blocks keep of their own.
    std::size_t cache_bytes() const {
        check_alive();
        std::size_t sum = cache_.bytes();
        for (auto const& block : own_) sum += block.kept().bytes();
        return sum;
    }
    /// Bytes of everything else a session keeps: states of all blocks, pending rows and logits. The same at any length.
    std::size_t state_bytes() const {
        check_alive();
        return work::state_elements * sizeof(S) + V * sizeof(float);
    }

    /// Writes everything that a session is. The file appears when it is complete; a new one can be read by its owner alone, and one that is
    /// replaced keeps its permissions. Throws session_error.
    void save(std::filesystem::path const& path) const;

private:
    friend detail::session_batch<Model>;
    template <class Other>
    friend struct detail::counted;

    void check_alive() const {
        if (state_.size() == 0) throw session_error("goldfinch: this session was moved from");
        if (torn_) throw session_error("goldfinch: an exception in the middle of a call, such as running out of memory, left this session half done: assign another to it");
    }

    /// This session alone as a batch.
    template <class F>
    auto alone(F const& f) {
        std::array<session*, 1> const only{this};
        return f(work(only));
    }

    static double log_probability(float const* logits, token t) {
        std::span<float const> const all{logits, V};
        double const max = detail::largest_of(all), sum = detail::sum_of_exp(all, max, 1, [](auto...) {});
        return static_cast<double>(logits[t]) - max - std::log(sum);
    }

    /// Appends n of `tokens`, from `first` on; scores[i] of each that they tell of: the very first, and up to the one behind them.
    void score_part(std::span<token const> tokens, std::size_t first, std::size_t n, double* scores);

    static constexpr std::uint64_t payload_size(std::uint64_t position) {
        return work::state_elements * sizeof(S) + position * cache_bytes_per_token;
    }

    /// Passes everything through an archive, which reads or writes it.
    static void transfer(auto& self, auto const& archive) {
        archive.bytes(self.state_.data(), work::state_elements * sizeof(S));
        for (auto& block : self.own_) own_rows::rows::transfer(block.kept(), archive);
        cache::transfer(self.cache_, archive);
    }

    Model lm_;
    typename backend::template buffer<S> state_;  // laid out by session_batch
    std::vector<own_rows> own_;                   // one a block with keys of its own
    cache cache_;
    std::size_t position_ = 0, pending_ = 0;  // pending: tokens that the upper blocks have not seen, at most `window` of them
    bool cut_ = false;                        // tokens before the pending ones never ran through the upper blocks
    bool torn_ = false;                       // a call ended in the middle, by an exception
    std::vector<float> logits_;               // one row a token, the last token's last; empty: to be computed
};

// Out of the class, where they are not inline: `extern template` then keeps other source files from compiling them, and with them the model.

template <class Model>
session<Model>::session(Model const& lm, std::filesystem::path const& path) : session(lm) {
    detail::session_reader file(path, lm_.fingerprints());
    auto const& [magic, version, cut, model, position, pending, payload] = file.header;
    // Nothing is allocated before the sizes are known to agree.
    constexpr std::uint64_t row = cache_bytes_per_token;
    bool const overflows = row > 0 && position > payload / (row > 0 ? row : 1);
    if (pending > std::min<std::uint64_t>(window, position) || overflows || payload != payload_size(position))
        file.fail({position, " tokens, ", pending, " of them pending, do not fit its ", payload, " bytes"});
    position_ = position;
    pending_ = pending;
    cut_ = cut != 0;
    typename backend::runtime::lease const at_work(lm_.data_->runtime);  // what is allocated is the model's device's
    cache_.resize(position_);
    for (auto& block : own_) block.kept().reserve(position_), block.kept().grow(position_);
    transfer(*this, detail::backend_archive<backend, decltype(file)>{file});
    if (!cache_.valid()) file.fail({"token ids outside the vocabulary"});
}

template <class Model>
void session<Model>::append(std::span<token const> tokens) {
    alone([&](work all) { all.append(std::span(&tokens, 1)); });
}

template <class Model>
std::span<float const> session<Model>::logits() {
    alone([](work all) { all.logits(); });
    return {logits_.data() + logits_.size() - V, V};
}

template <class Model>
std::span<float const> session<Model>::step(token t) {
    append({&t, 1});
    return logits();
}

template <class Model>
std::span<float const> session<Model>::step(std::span<token const> tokens) {
    std::vector<float> all_logits;
    alone([&](work all) {
        work::check(tokens);
        all_logits.reserve(tokens.size() * V);
        all.append_with_logits(tokens, [&](std::size_t, std::size_t n, float const* logits) { all_logits.insert(all_logits.end(), logits, logits + n * V); });
    });
    if (!tokens.empty()) logits_ = std::move(all_logits);
    return {logits_.data(), tokens.size() * V};
}

template <class Model>
std::vector<double> session<Model>::score(std::span<token const> tokens) {
    check_alive();
    work::check(tokens);
    std::vector<double> result(tokens.size());
    score_part(tokens, 0, tokens.size(), result.data());
    return result;
}

template <class Model>
void session<Model>::score_part(std::span<token const> tokens, std::size_t first, std::size_t n, double* scores) {
    if (n > 0 && first == 0 && position_ > 0) scores[0] = log_probability(logits().data(), tokens[0]);
    alone([&](work all) {
        all.append_with_logits(tokens.subspan(first, n), [&](std::size_t at, std::size_t rows, float const* logits) {
            for (std::size_t i = 0, next = first + at + 1; i < rows && next < tokens.size(); ++i, ++next)
                scores[next] = log_probability(logits + i * V, tokens[next]);
        });
    });
}

template <class Model>
void session<Model>::save(std::filesystem::path const& path) const {
    check_alive();
    detail::session_writer file(
        path, {.cut = cut_, .model = lm_.fingerprints(), .position = position_, .pending = pending_, .payload = payload_size(position_)});
    transfer(*this, detail::backend_archive<backend, decltype(file)>{file});
    file.commit();
}

namespace detail {

template <class T>
inline constexpr bool is_session = false;
template <class Model>
inline constexpr bool is_session<session<Model>> = true;

/// A session, or what *p makes one of.
template <class T>
auto& session_of(T& entry) {
    if constexpr (is_session<std::remove_const_t<T>>)
        return entry;
    else
        return *entry;
}

template <class Range>
using session_in = std::remove_reference_t<decltype(session_of(std::declval<std::ranges::range_reference_t<Range>&>()))>;

template <class T>
concept session_range = std::ranges::forward_range<T> && requires(T& range) {
    requires is_session<session_in<T>>;
};

/// The sessions of a range of sessions or of pointers to them. Throws session_error for a null pointer.
template <class Range>
auto list_sessions(Range& range) {
    std::vector<session_in<Range>*> result;
    for (auto&& entry : range) {
        if constexpr (!is_session<std::remove_cvref_t<decltype(entry)>>)
            if (!entry) throw session_error(message({"goldfinch: session ", result.size(), " of a batch is a null pointer"}));
        result.push_back(&session_of(entry));
    }
    return result;
}

/// The tokens of a range, which may make them as it is read.
template <class Range>
std::vector<token> list_tokens(Range&& range) {
    std::vector<token> result;
    for (token const t : range) result.push_back(t);
    return result;
}

/// Throws session_error where there is not one prompt, or whatever `what` is, for each session.
GOLDFINCH_COLD inline void check_count(std::size_t sessions, std::size_t found, char const* what) {
    if (found == sessions) return;
    throw session_error(message({"goldfinch: ", sessions, sessions == 1 ? " session needs " : " sessions need ", sessions, " ", what, sessions == 1 ? "" : "s",
                                 ", found ", found}));
}

/// f(the sessions as a batch, the prompts), which are checked.
template <class Sessions, class Prompts, class F>
auto with_prompts(Sessions& sessions, Prompts& prompts, F const& f) {
    auto const all = list_sessions(sessions);
    using batch = session_batch<typename std::remove_pointer_t<typename decltype(all)::value_type>::model_type>;
    std::vector<std::vector<token>> kept;
    for (auto&& prompt : prompts) kept.push_back(list_tokens(prompt));
    std::vector<std::span<token const>> const texts(kept.begin(), kept.end());
    check_count(all.size(), texts.size(), "prompt");
    return f(batch(all), texts);
}

}  // namespace detail

/// Appends prompts[i], a range of tokens each, to sessions[i], in one pass over the weights for up to session::tokens_a_pass tokens; they may be of different lengths. `sessions`
/// is any range of sessions of one model, or of pointers to them. Throws as session::append does, and session_error where there are not as many
/// prompts as sessions, a session is there twice, a pointer is null, or a session is of another model; then none of them has changed.
template <detail::session_range Sessions, std::ranges::input_range Prompts>
void append(Sessions&& sessions, Prompts&& prompts) {
    detail::with_prompts(sessions, prompts, [](auto batch, auto const& texts) { batch.append(texts); });
}

/// The same, with on_progress as session::append takes it, where `done` and `total` are tokens of all prompts. They are read in the order of the
/// sessions: where it cancels or throws, the first sessions have seen their prompts, one a part of it perhaps, and the rest nothing; position()
/// tells. Returns how many tokens were read.
template <detail::session_range Sessions, std::ranges::input_range Prompts, progress_receiver F>
std::size_t append(Sessions&& sessions, Prompts&& prompts, F&& on_progress) {
    return detail::with_prompts(sessions, prompts, [&](auto batch, auto const& texts) { return batch.append(texts, on_progress); });
}

/// Appends tokens[i] to sessions[i] and computes its logits, in one pass over the weights for up to session::tokens_a_pass sessions. Where the CPU
/// multiplies bf16 faster than float32, simd<bf16> may round activations of several sessions as it does a long prompt's. Throws as append does.
template <detail::session_range Sessions, std::ranges::input_range Tokens>
void step(Sessions&& sessions, Tokens&& tokens) {
    auto const all = detail::list_sessions(sessions);
    auto const ids = detail::list_tokens(tokens);
    detail::check_count(all.size(), ids.size(), "token");
    if (all.empty()) return;
    using model = typename std::remove_pointer_t<typename decltype(all)::value_type>::model_type;
    constexpr std::size_t V = model::cfg.vocab_size;
    std::vector<std::span<token const>> each;
    for (token const& t : ids) {
        if (t >= V) throw token_error(detail::message({"goldfinch: token ", t, " for session ", each.size(), " is outside the vocabulary of ", V}));
        each.emplace_back(&t, 1);
    }
    detail::session_batch<model> together(all);
    together.append(each);
    together.logits();
}

}  // namespace goldfinch
