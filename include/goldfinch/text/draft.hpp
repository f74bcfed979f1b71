// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <goldfinch/batch.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/error.hpp>
#include <goldfinch/message.hpp>

namespace goldfinch {

/// Drafts from the text itself (prompt lookup): where its last tokens stood before, those that followed them are proposed, and one pass of the model
/// checks them all.
struct draft_options {
    std::size_t tokens = 0;  ///< proposed at once at most, up to 15; 0: no drafts
    std::size_t ngram = 3;   ///< how many tokens must have stood there before, at least 1
};

/// What drafts need of a session: to be copied, and to give the logits after each of several tokens.
template <class T>
concept drafting_sequence = std::copyable<T> && requires(T& t, std::span<token const> tokens) {
    t.append(tokens);
    { t.logits() } -> std::convertible_to<std::span<float const>>;
    { t.step(tokens) } -> std::convertible_to<std::span<float const>>;
};

namespace detail {

/// The tokens that followed, up to n, where the last `ngram` tokens of a text or more of them stood before: where most of them did, and of several such
/// places at the last. Behind the end of the text follows what is proposed, so that what repeats goes on.
inline std::vector<token> propose(std::span<token const> text, std::size_t ngram, std::size_t n) {
    constexpr std::size_t most = 64;  // tokens compared
    std::vector<token> draft;
    std::size_t longest = 0, next = 0;
    for (std::size_t end = text.size(); n > 0 && end-- > ngram && longest < most;) {
        std::size_t equal = 0;
        while (equal < std::min(end, most) && text[end - 1 - equal] == text[text.size() - 1 - equal]) ++equal;
        if (equal >= ngram && equal > longest) longest = equal, next = end;
    }
    if (longest == 0) return draft;
    for (; draft.size() < n; ++next) draft.push_back(next < text.size() ? text[next] : draft[next - text.size()]);
    return draft;
}

/// Hands drawn tokens to a session, one a pass, and draws from its logits.
template <class Session>
class one_by_one {
public:
    explicit one_by_one(Session& session) : session_(session) {}

    std::span<float const> logits() {
        ++n_passes_;
        return session_.logits();
    }
    void accept(token t) { session_.append(std::span<token const>(&t, 1)); }
    void settle() {}
    std::size_t passes() const { return n_passes_; }

private:
    Session& session_;
    std::size_t n_passes_ = 0;
};

/// The same with drafts: a pass also reads the tokens of a draft, whose logits are there when they are drawn. When another is drawn, the session goes
/// back to what it was before the pass, and what was drawn until then is read again in the next one: up to few_tokens cost little more than one.
template <drafting_sequence Session>
class by_drafts {
public:
    /// text: what came before. Throws config_error for options out of their range.
    by_drafts(Session& session, std::vector<token> text, draft_options const& options)
        : session_(session), text_(std::move(text)), options_(options), length_(std::min<std::size_t>(options.tokens, 2)) {
        if (options.tokens >= few_tokens) throw config_error(message({"goldfinch: draft.tokens must be at most ", few_tokens - 1, ", found ", options.tokens}));
        if (options.ngram == 0) throw config_error("goldfinch: draft.ngram must be at least 1, found 0");
    }

    /// The logits after the last token accepted.
    std::span<float const> logits() {
        if (rows_.empty() || !unread_.empty()) run();
        width_ = rows_.size() / (draft_.size() + 1);
        return rows_.subspan(held_ * width_, width_);
    }
    /// Throws what the session throws for an id outside the vocabulary.
    void accept(token t) {
        if (t >= width_) {
            settle();
            session_.append(std::span<token const>(&t, 1));
        }
        text_.push_back(t);
        if (held_ < draft_.size() && draft_[held_] == t) {
            ++held_;
            return;
        }
        if (!draft_.empty()) length_ = std::min(options_.tokens, held_ == draft_.size() ? 2 * length_ : held_ + 1);
        end_draft();
        unread_.push_back(t);
    }
    /// Leaves the session with the accepted tokens, all of them and no others.
    void settle() {
        end_draft();
        if (!unread_.empty()) session_.append(std::span<token const>(unread_));
        unread_.clear();
    }
    std::size_t passes() const { return n_passes_; }

private:
    void run() {
        ++n_passes_;
        if (unread_.empty()) {
            rows_ = session_.logits();
            return;
        }
        std::vector<token> draft = propose(text_, options_.ngram, std::min(length_, few_tokens - unread_.size())), tokens = unread_;
        tokens.insert(tokens.end(), draft.begin(), draft.end());
        if (!draft.empty()) before_ = session_;
        std::span<float const> rows;
        try {
            rows = session_.step(std::span<token const>(tokens));
        } catch (...) {
            if (!draft.empty()) session_ = std::move(*before_);
            throw;
        }
        rows_ = rows.last(rows.size() / tokens.size() * (draft.size() + 1));
        read_ = std::move(unread_);
        unread_.clear();
        draft_ = std::move(draft);
    }

    /// The session goes back where it has read more than was accepted.
    void end_draft() {
        if (held_ < draft_.size()) {
            session_ = std::move(*before_);
            unread_ = std::move(read_);
            unread_.insert(unread_.end(), draft_.begin(), draft_.begin() + static_cast<std::ptrdiff_t>(held_));
        }
        draft_.clear();
        held_ = 0;
        rows_ = {};
    }

    Session& session_;
    std::vector<token> text_;            // all that was accepted, too
    draft_options options_;
    std::size_t length_;                 // of the next draft: grows while drafts hold
    std::vector<token> unread_;          // accepted, and not read by the session: at most few_tokens
    std::vector<token> read_, draft_;    // what the last pass read: accepted tokens, and a draft, of which held_ have been accepted
    std::size_t held_ = 0, width_ = 0;
    std::span<float const> rows_;        // the session's logits before the draft and after each of it
    std::optional<Session> before_;      // the session before the pass, if there was a draft
    std::size_t n_passes_ = 0;
};

}  // namespace detail
}  // namespace goldfinch
