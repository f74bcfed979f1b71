// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <goldfinch/config.hpp>
#include <goldfinch/error.hpp>
#include <goldfinch/message.hpp>
#include <goldfinch/numeric.hpp>
#include <goldfinch/hash.hpp>
#include <goldfinch/logit_sums.hpp>

namespace goldfinch {

/// How to draw a token. The defaults are the official ones.
struct sampling_options {
    float temperature = 1.0f;               ///< at least 0; probabilities are raised to 1 / temperature; 0: greedy
    float top_p = 0.85f;                    ///< 0 to 1; keeps the most probable tokens that together reach it; 1: all of them
    int top_k = 0;                          ///< keeps this many of the most probable tokens; 0: all of them
    float presence_penalty = 0.2f;          ///< off the logit of every token drawn before
    float frequency_penalty = 0.2f;         ///< off the logit of every token drawn before, times its count
    float penalty_decay = 0.996f;           ///< 0 to 1; counts are multiplied by it after each draw
    std::uint64_t seed = 0;                 ///< the same seed draws the same tokens
    std::vector<token> banned_tokens = {};  ///< never drawn
};

/// Draws tokens from logits with the official RWKV sampling. A value: a copy continues the same random stream on its own.
///
/// In this order: penalties and bans on the logits, softmax, the top-p cut (at the probability where the sorted cumulative sum
/// first reaches top_p; ties stay), the top-k cut (ties: lower ids stay), p^(1 / temperature), one draw. Greedy takes the largest
/// logit after penalties and bans, the lowest id among equals, and leaves the random stream alone.
/// Source: BlinkDL/ChatRWKV, rwkv_pip_package/src/rwkv/utils.py, sample_logits and generate.
template <class OnDemand = void>
class basic_sampler {
    enum class defaults {};

public:
    /// Throws config_error for options out of their range.
    explicit basic_sampler(sampling_options options) : options_(std::move(options)), stream_(detail::scramble(options_.seed)) {
        auto const require = [](bool holds, char const* sentence, float found) {
            if (!holds) throw config_error(detail::message({"goldfinch: ", sentence, ", found ", std::to_string(found)}));
        };
        auto const between_0_and_1 = [](float x) { return detail::is_finite(x) && x >= 0 && x <= 1; };
        auto const& o = options_;
        require(detail::is_finite(o.temperature) && o.temperature >= 0, "temperature must be finite and at least 0", o.temperature);
        require(between_0_and_1(o.top_p), "top_p must be between 0 and 1", o.top_p);
        detail::require(o.top_k >= 0, "top_k must be at least 0", o.top_k);
        require(detail::is_finite(o.presence_penalty), "presence_penalty must be finite", o.presence_penalty);
        require(detail::is_finite(o.frequency_penalty), "frequency_penalty must be finite", o.frequency_penalty);
        require(between_0_and_1(o.penalty_decay), "penalty_decay must be between 0 and 1", o.penalty_decay);
    }

    /// The official defaults: `sampler s;`. The parameter only makes `sampler({})` mean the same rather than be ambiguous.
    explicit basic_sampler(defaults = {}) : basic_sampler(sampling_options{}) {}

    /// Draws a token and records it: draw, then record. `logits`: one a token of the vocabulary. Throws as draw does.
    token operator()(std::span<float const> logits) {
        token const drawn = draw(logits);
        record(drawn);
        return drawn;
    }

    /// Draws a token without recording it. Throws token_error if there are no logits, one is not finite, a banned or recorded token
    /// has none, or every token is banned; the random stream is then where it was.
    token draw(std::span<float const> logits) {
        double const largest = penalise(logits);
        if (options_.temperature == 0) return first_equal(largest);
        // The temperature comes after the cuts. Without any it can go into the exponential, which is cheaper than a power.
        bool const cuts = options_.top_p < 1 || options_.top_k > 0;
        double const power = 1 / static_cast<double>(options_.temperature);
        double const total = detail::sum_of_exp(weights(), largest, cuts ? 1 : power,
                                                [this](std::size_t i, double const* w, std::size_t n) { std::copy_n(w, n, weights_.data() + i); });
        if (options_.top_p < 1) cut_top_p(total);
        if (options_.top_k > 0) cut_top_k();
        if (cuts && power != 1) {
            for (double& w : weights_) w = w > 0 ? std::pow(w, power) : 0;
        }
        return pick();
    }

    /// Notes that `drawn` was drawn, for the penalties: every count decays, then this token's rises by 1, or by 0 if not `counts`
    /// (it then takes the presence penalty only). `generate` passes false for spaces, tabs and digits, the official rule.
    void record(token drawn, bool counts = true) {
        for (auto& [id, count] : drawn_) count *= options_.penalty_decay;
        auto found = std::find_if(drawn_.begin(), drawn_.end(), [drawn](occurrence const& o) { return o.id == drawn; });
        if (found == drawn_.end()) found = drawn_.insert(found, {drawn, 0.0});
        if (counts) found->count += 1;
    }

    /// As new: forgets the tokens drawn and begins the random stream again.
    void reset() {
        drawn_.clear();
        n_drawn_ = 0;
    }

    /// The options it was made with.
    sampling_options const& options() const { return options_; }

private:
    struct occurrence {
        token id;
        double count;
    };

    /// Fills weights_ with the logits after penalties, detail::never for banned tokens, and returns the largest.
    double penalise(std::span<float const> logits) {
        if (logits.empty()) throw token_error("goldfinch: there are no logits to draw a token from");
        if (!detail::all_finite(logits)) {
            std::size_t i = 0;
            while (detail::is_finite(logits[i])) ++i;
            throw token_error(detail::message({"goldfinch: the logit of token ", i, " is not finite"}));
        }
        auto const check = [&logits](char const* kind, token id) {
            if (id < logits.size()) return;
            throw token_error(detail::message({"goldfinch: ", kind, " token ", id, " is out of range, there are ", logits.size(), " logits"}));
        };
        for (auto const& [id, count] : drawn_) check("recorded", id);
        for (token const id : options_.banned_tokens) check("banned", id);

        drawn_.reserve(logits.size());  // here and in the scratch: no allocation after the first draw
        large_.reserve(logits.size());
        weights_.assign(logits.begin(), logits.end());
        for (auto const& [id, count] : drawn_) {
            weights_[id] -= options_.presence_penalty + static_cast<double>(options_.frequency_penalty) * count;
        }
        for (token const id : options_.banned_tokens) weights_[id] = detail::never;
        double const largest = detail::largest_of(weights());
        if (largest <= detail::never) throw token_error("goldfinch: every token is banned");
        return largest;
    }

    token first_equal(double value) const { return static_cast<token>(std::find(weights_.begin(), weights_.end(), value) - weights_.begin()); }

    void cut_top_p(double total) {
        double const cut = top_p_cut(total);
        for (double& w : weights_) w = w >= cut ? w : 0;
    }

    /// The weight at which the sum over the weights from large to small first reaches top_p. The weights are put in buckets of similar
    /// ones; the buckets' sums say in which bucket that weight is, and there it is found by halving the range, as nth_element does. So
    /// the work is linear where sorting is not. The sum is compared in float, the precision of top_p: {0.5, 0.35, 0.15} reaches 0.85f with its
    /// second.
    double top_p_cut(double total) {
        // All weights below this one add up to less than half of what may be cut off, so the cut is above it.
        double const least = (1.0 - options_.top_p) * total / (2.0 * static_cast<double>(weights_.size()));
        // The largest weight is 1, but for rounding. Doubles are in the order of their bits: exponent and six bits more make a bucket.
        auto const bucket = [](double w) {
            return static_cast<std::size_t>((std::bit_cast<std::uint64_t>(1.0) - std::bit_cast<std::uint64_t>(std::min(w, 1.0))) >> 46);
        };
        buckets_.assign(bucket(least) + 1, 0.0);
        select(weights_, [least](double w) { return w >= least; });
        for (double const w : large_) buckets_[bucket(w)] += w;
        double before = 0;  // the sum over what is larger than the range
        std::size_t at = 0;
        for (std::size_t i = 0; i < buckets_.size(); ++i) {
            if (buckets_[i] == 0) continue;
            if (i > 0 && static_cast<float>(before / total) >= options_.top_p) break;  // the first holds the largest weight: not empty
            at = i;
            before += buckets_[i];
        }
        before -= buckets_[at];
        select(large_, [&](double w) { return bucket(w) == at; });
        auto first = large_.begin(), last = large_.end();
        while (last - first > 1) {
            auto const middle = first + (last - first) / 2;
            std::nth_element(first, middle, last, std::greater<>());
            double const sum = before + detail::sum_of({&*first, static_cast<std::size_t>(middle - first)});
            if (static_cast<float>(sum / total) >= options_.top_p) {
                last = middle;
            } else {
                before = sum;
                first = middle;
            }
        }
        return *first;
    }

    /// large_ = the numbers of `from`, which may be large_, that f holds for. Without a branch, which would be mispredicted every other time.
    template <class F>
    void select(std::vector<double> const& from, F const& f) {
        std::size_t n = 0;
        large_.resize(std::max(large_.size(), from.size()));
        for (double const w : from) {
            large_[n] = w;
            n += std::size_t{f(w)};
        }
        large_.resize(n);
    }

    void cut_top_k() {
        select(weights_, [](double w) { return w > 0; });
        auto const k = static_cast<std::size_t>(options_.top_k);
        if (large_.size() <= k) return;
        auto const kth = large_.begin() + (options_.top_k - 1);
        std::nth_element(large_.begin(), kth, large_.end(), std::greater<>());
        auto ties = std::count(large_.begin(), kth + 1, *kth);  // how many equal to it are among the k largest
        for (double& w : weights_) {
            bool const stays = w > *kth || (w == *kth && ties-- > 0);
            if (!stays) w = 0;
        }
    }

    /// A token with the probability that its weight has.
    token pick() {
        double const total = detail::sum_of(weights()), point = detail::unit_interval(detail::scramble(stream_ + n_drawn_++)) * total;
        double before = 0;
        constexpr std::size_t block = 1024;
        for (std::size_t first = 0; first < weights_.size(); first += block) {
            std::size_t const n = std::min(block, weights_.size() - first);
            double const sum = before + detail::sum_of({weights_.data() + first, n});
            if (point < sum) {
                for (std::size_t i = first; i < first + n; ++i)
                    if (point < (before += weights_[i])) return static_cast<token>(i);
            }
            before = sum;
        }
        // Where rounding puts the point at the total: the last that has a weight.
        return static_cast<token>(std::find_if(weights_.rbegin(), weights_.rend(), [](double w) { return w > 0; }).base() - weights_.begin() - 1);
    }

    std::span<double const> weights() const { return {weights_.data(), weights_.size()}; }

    sampling_options options_;
    std::uint64_t stream_, n_drawn_ = 0;   // the n-th random number is a function of the two
    std::vector<occurrence> drawn_;        // every token recorded, once
    std::vector<double> weights_;          // scratch, by token: logits, then unnormalised probabilities, 0 once cut
    std::vector<double> large_, buckets_;  // scratch for the cuts
};

/// What programs name: see basic_sampler.
using sampler = basic_sampler<>;

}  // namespace goldfinch
