// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <goldfinch/batch.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/detail/run_memory.hpp>
#include <goldfinch/error.hpp>
#include <goldfinch/layer/state.hpp>
#include <goldfinch/layer/weights.hpp>
#include <goldfinch/message.hpp>
#include <goldfinch/model.hpp>
#include <goldfinch/progress.hpp>

namespace goldfinch::detail {

/// Some sessions of one model at work together: one pass over the weights for up to tokens_a_pass of their tokens. All that sessions compute is here; a session
/// alone is a batch of one.
template <class Model>
class session_batch {
    using session_type = session<Model>;
    using backend = typename Model::backend_type;
    using stack = typename Model::stack_type;
    using cache = typename Model::cache;
    using S = typename backend::scalar;
    using lease = typename backend::runtime::lease;
    static constexpr std::size_t D = Model::cfg.n_embd, V = Model::cfg.vocab_size;
    static constexpr std::size_t window = stack::reach + 1;
    static constexpr std::size_t most_rows = backend::tokens_a_pass;

    /// Where the parts of a session's state lie in its buffer: the blocks' states, the cache's, the lower blocks' output for the pending tokens
    /// [window, D], and the upper blocks' output for the last token, when nothing is pending [D].
    static constexpr std::size_t upper_at = stack::template lower_state<backend>, cache_at = Model::cache_state_at,
                                 recent_at = cache_at + state_size<typename cache::state>, hidden_at = recent_at + window * D;

public:
    static constexpr std::size_t state_elements = hidden_at + D;

    /// The state of a session that has seen nothing, in memory of the model's device.
    static auto make_state(Model const& lm) {
        lease const work(lm.data_->runtime);
        return typename backend::template buffer<S>(state_elements);
    }

    /// Throws session_error for sessions of several models, one that was moved from, and one that is there twice.
    explicit session_batch(std::span<session_type* const> sessions) : sessions_(sessions) {
        for (std::size_t i = 0; i < sessions.size(); ++i) {
            sessions[i]->check_alive();
            if (sessions[i]->lm_.data_ != sessions[0]->lm_.data_) throw session_error(message({"goldfinch: session ", i, " of a batch is of another model than the first"}));
            for (std::size_t j = 0; j < i; ++j)
                if (sessions[i] == sessions[j]) throw session_error(message({"goldfinch: sessions ", j, " and ", i, " of a batch are the same"}));
        }
    }

    /// Throws token_error for an id outside the vocabulary.
    static void check(std::span<token const> tokens) { check({&tokens, 1}); }
    static void check(std::span<std::span<token const> const> prompts) {
        for (std::size_t p = 0; p < prompts.size(); ++p)
            for (std::size_t i = 0; i < prompts[p].size(); ++i) {
                if (prompts[p][i] < V) continue;
                std::string const which = prompts.size() > 1 ? message({" of prompt ", p}) : "";
                throw token_error(message({"goldfinch: token ", prompts[p][i], " at index ", i, which, " is outside the vocabulary of ", V}));
            }
    }

    /// Reads prompts[i] into the i-th session, and tells after each pass how many tokens of all were read; how many they are in the end. Nothing of
    /// the runtime is held while on_progress is called, and no session is half done: it may use them.
    template <class F>
    std::size_t append(std::vector<std::span<token const>> rest, F& on_progress) {
        check(rest);
        std::size_t total = 0;
        for (auto const& prompt : rest) total += prompt.size();
        std::vector<std::span<token const>> pass(rest.size());
        auto const read = [&](std::size_t, std::size_t room) {
            for (std::size_t i = 0; i < rest.size(); ++i) {
                std::size_t const n = std::min(room, rest[i].size());
                pass[i] = rest[i].first(n);
                rest[i] = rest[i].subspan(n);
                room -= n;
            }
            append(pass);
        };
        return by_passes(most_rows, total, read, on_progress);
    }

    /// Reads prompts[i] into the i-th session.
    void append(std::span<std::span<token const> const> prompts) {
        check(prompts);
        if (std::all_of(prompts.begin(), prompts.end(), [](auto const& prompt) { return prompt.empty(); })) return;
        lease const work(runtime());
        backend const be = backend_of(work);
        read(be, prompts, [&](members const& part, outputs<backend, D> x) {
            for (std::size_t i = 0; i < part.sessions.size(); ++i) keep_pending(be, *part.sessions[i], x.rows(part.first[i], part.count(i)));
        });
    }

    /// Computes the logits of the sessions that have none. Throws session_error for one that has seen nothing.
    void logits() {
        run_memories::lease const lists(memories());
        run_vector<session_type*> without(*lists);
        for (session_type* const s : sessions_) {
            if (s->position_ == 0) throw session_error("goldfinch: a session that has seen no token has no logits: append a prompt first");
            if (s->logits_.empty()) without.push_back(s);
        }
        if (without.empty()) return;
        lease const work(runtime());
        backend const be = backend_of(work);
        run_pending(be, without);
        for (std::size_t first = 0; first < without.size(); first += rows_of_logits) {
            std::size_t const n = std::min(rows_of_logits, without.size() - first);
            auto const x = temporary<D>(be, n);
            for (std::size_t i = 0; i < n; ++i) copy(be, inputs<backend, D>{hidden(*without[first + i]), 1}, outputs<backend, D>(x).rows(i, 1));
            auto const y = temporary<V>(be, n);
            lm().compute_logits(be, x, y);
            for (std::size_t i = 0; i < n; ++i) {
                without[first + i]->logits_.resize(V);
                read_rows(be, outputs<backend, V>(y).rows(i, 1), without[first + i]->logits_.data());
            }
        }
    }

    /// Reads tokens into a session, the only one here; f(index of the first, how many, their logits [n, V]) for runs of them.
    template <class F>
    void append_with_logits(std::span<token const> tokens, F const& f) {
        check(tokens);
        if (tokens.empty()) return;
        lease const work(runtime());
        backend const be(work.executor());
        run_pending(be, sessions_);
        std::size_t done = 0;
        std::vector<float> logits;
        read(be, std::span(&tokens, 1), [&](members const& part, outputs<backend, D> x) {
            session_type& s = *part.sessions[0];
            run_upper(be, part, x);
            copy(be, x.from(x.size - 1), outputs<backend, D>{hidden(s), 1});
            for (std::size_t t = 0; t < x.size; t += rows_of_logits) {
                std::size_t const n = std::min(rows_of_logits, x.size - t);
                logits.resize(n * V);
                auto const y = temporary<V>(be, n);
                lm().compute_logits(be, x.rows(t, n), y);
                read_rows(be, y, logits.data());
                f(done + t, n, static_cast<float const*>(logits.data()));
            }
            done += x.size;
        });
    }

private:
    static constexpr std::size_t rows_of_logits = std::clamp<std::size_t>((std::size_t{1} << 20) / V, 1, most_rows);

    /// Some sessions and the rows that each has in a pass: what a batch refers to.
    struct members {
        run_memory& lists;
        run_vector<session_type*> sessions{lists};
        run_vector<S*> states{lists};
        run_vector<std::size_t> first{1, 0, lists}, position{lists};

        explicit members(run_memory& memory) : lists(memory) {}

        void add(session_type& s, std::size_t n, std::size_t at) {
            sessions.push_back(&s);
            states.push_back(s.state_.data());
            first.push_back(first.back() + n);
            position.push_back(at);
        }
        std::size_t count(std::size_t i) const { return first[i + 1] - first[i]; }
        batch<S> view() const { return {sessions.size(), states.data(), first.data(), position.data()}; }
        run_vector<cache*> caches() const {
            run_vector<cache*> result(lists);
            for (session_type* const s : sessions) result.push_back(&s->cache_);
            return result;
        }
    };

    /// While it is there, its sessions are half done: an exception leaves them so, and they say so when they are used again.
    class unfinished {
    public:
        explicit unfinished(members const& part) : sessions_(part.sessions) {
            for (session_type* const s : sessions_) s->torn_ = true;
        }
        void finished() const {
            for (session_type* const s : sessions_) s->torn_ = false;
        }

    private:
        run_vector<session_type*> const& sessions_;
    };

    /// The backend of these sessions' passes: rows of several may be rounded as those of a long prompt are.
    backend backend_of(lease const& work) const {
        backend const be(work.executor());
        if constexpr (requires { rounds_few(be); })
            if (sessions_.size() > 1) return rounds_few(be);
        return be;
    }
    auto& runtime() const { return sessions_[0]->lm_.data_->runtime; }
    run_memories& memories() const { return sessions_[0]->lm_.data_->memories; }
    Model const& lm() const { return sessions_[0]->lm_; }
    static S* hidden(session_type& s) { return s.state_.data() + hidden_at; }

    /// Runs prompts through the lower blocks and into the key cache; f(members, the lower blocks' output) for every pass.
    template <class F>
    void read(backend const& be, std::span<std::span<token const> const> prompts, F const& f) {
        for (std::size_t i = 0; i < sessions_.size(); ++i) {
            session_type& s = *sessions_[i];
            s.cache_.reserve(s.position_ + prompts[i].size());
            for (auto& block : s.own_) block.kept().reserve(s.position_ + prompts[i].size());
        }
        for (std::size_t i = 0, at = 0; i < sessions_.size();) {
            run_memories::lease const lists(memories());
            run_vector<token> tokens(*lists);
            members part(*lists);
            for (; i < sessions_.size() && tokens.size() < most_rows; at = 0, ++i) {
                std::size_t const n = std::min(prompts[i].size() - at, most_rows - tokens.size());
                if (n == 0) continue;
                part.add(*sessions_[i], n, sessions_[i]->position_);
                tokens.insert(tokens.end(), prompts[i].begin() + static_cast<std::ptrdiff_t>(at), prompts[i].begin() + static_cast<std::ptrdiff_t>(at + n));
                if (at += n; at < prompts[i].size()) break;
            }
            if (!tokens.empty()) run_lower(be, part, tokens, f);
        }
    }

    template <class F>
    void run_lower(backend const& be, members const& part, std::span<token const> tokens, F const& f) {
        auto const x = temporary<D>(be, tokens.size());
        unfinished const work(part);
        run_vector<typename session_type::own_rows*> own(part.lists);
        for (session_type* const s : part.sessions) own.push_back(s->own_.data());
        lm().run_lower(be, part.lists, part.view(), own.data(), part.caches().data(), tokens, x);
        for (std::size_t i = 0; i < part.sessions.size(); ++i) {
            session_type& s = *part.sessions[i];
            s.position_ += part.count(i);
            // Those after each of many tokens are too many to keep for their memory.
            if (s.logits_.capacity() > V) std::vector<float>().swap(s.logits_);
            s.logits_.clear();
        }
        f(part, x);
        work.finished();
    }

    /// Keeps the last rows for the upper blocks.
    static void keep_pending(backend const& be, session_type& s, inputs<backend, D> x) {
        outputs<backend, D> const recent{s.state_.data() + recent_at, window};
        std::size_t const fresh = std::min(x.size, window), kept = std::min(s.pending_, window - fresh);
        s.cut_ = s.cut_ || kept < s.pending_ || fresh < x.size;
        if (kept < s.pending_) copy(be, recent.rows(s.pending_ - kept, kept), recent.first(kept));  // moves rows up, in order
        copy(be, x.from(x.size - fresh), recent.rows(kept, fresh));
        s.pending_ = kept + fresh;
    }

    /// Runs the upper blocks on what is pending; a session's hidden row is then its last token's.
    void run_pending(backend const& be, std::span<session_type* const> sessions) {
        run_memories::lease const lists(memories());
        for (std::size_t i = 0; i < sessions.size();) {
            members part(*lists);
            for (; i < sessions.size() && part.first.back() < most_rows; ++i)
                if (session_type& s = *sessions[i]; s.pending_ > 0) part.add(s, s.pending_, s.position_ - s.pending_);
            if (part.sessions.empty()) return;
            auto const x = temporary<D>(be, part.first.back());
            unfinished const work(part);
            auto const row = [&](std::size_t first, std::size_t n) { return outputs<backend, D>(x).rows(first, n); };
            for (std::size_t k = 0; k < part.sessions.size(); ++k) {
                session_type& s = *part.sessions[k];
                copy(be, inputs<backend, D>{s.state_.data() + recent_at, s.pending_}, row(part.first[k], s.pending_));
                if (s.cut_) backend::clear(s.state_.data() + upper_at, (cache_at - upper_at) * sizeof(S));
            }
            run_upper(be, part, x);
            for (std::size_t k = 0; k < part.sessions.size(); ++k) {
                session_type& s = *part.sessions[k];
                copy(be, row(part.first[k + 1] - 1, 1), outputs<backend, D>{hidden(s), 1});
                s.pending_ = 0;
                s.cut_ = false;
            }
            work.finished();
        }
    }

    /// x in place through the upper blocks.
    void run_upper(backend const& be, members const& part, outputs<backend, D> x) { lm().run_upper(be, part.lists, part.view(), part.caches().data(), x); }

    std::span<session_type* const> sessions_;
};

}  // namespace goldfinch::detail
