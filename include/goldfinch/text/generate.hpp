// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <goldfinch/config.hpp>
#include <goldfinch/error.hpp>
#include <goldfinch/message.hpp>
#include <goldfinch/progress.hpp>
#include <goldfinch/text/draft.hpp>
#include <goldfinch/text/text_stream.hpp>
#include <goldfinch/text/tokenizer.hpp>

namespace goldfinch {

/// What generate needs of a session: take tokens, give the logits of the next one, say how many it has seen.
template <class T>
concept token_sequence = requires(T& t, std::span<token const> tokens) {
    t.append(tokens);
    { t.logits() } -> std::convertible_to<std::span<float const>>;
    { t.position() } -> std::convertible_to<std::size_t>;
};

/// What draws a token from logits: a sampler, or any function of yours.
template <class T>
concept token_chooser = std::is_invocable_r_v<token, T&, std::span<float const>>;

/// What takes text as it is generated; what it returns, if anything, says whether to go on.
template <class T>
concept text_receiver = detail::says_whether_to_go_on<T, std::string_view>;

/// When generate ends.
struct generate_options {
    std::size_t max_tokens = 256;                 ///< tokens to draw at most; 0: the prompt is appended, no more
    std::vector<token> stop_tokens = {};          ///< drawing one of these ends the text; its own text is not emitted
    std::vector<std::string> stop_strings = {};   ///< as soon as the text contains one it ends before it; none may be empty
    /// Called with tokens of the prompt read so far and in all, after every pass; false ends generate before it draws a token.
    std::function<bool(std::size_t done, std::size_t total)> on_progress = {};
    draft_options draft = {};  ///< lossless drafts: the same text in fewer passes, and faster where it repeats itself
};

/// Why generate ended; cancelled: by on_progress.
enum class stop_reason { max_tokens, stop_token, stop_string, receiver, cancelled };

/// What generate did.
struct generation {
    std::size_t n_tokens;  ///< tokens drawn, each of them appended to the session
    stop_reason reason;
    std::size_t n_passes = 0;  ///< runs of the model that gave logits to draw from: n_tokens / n_passes tokens were accepted a pass, one without drafts
};

namespace detail {

/// The official rule: a token whose text is a piece of this string takes no frequency penalty.
inline bool counts_for_penalty(std::string_view text) { return std::string_view(" \t0123456789").find(text) == std::string_view::npos; }

template <class Receiver>
bool hand_over(Receiver& on_text, std::string_view text) {
    return text.empty() || goes_on(on_text, text);
}

/// Appends a prompt: whether on_progress, if there is one, let it be read and go on.
template <class Session>
bool read_prompt(Session& session, std::span<token const> tokens, std::function<bool(std::size_t, std::size_t)> const& on_progress) {
    bool go_on = true;
    if (!on_progress) {
        session.append(tokens);
        return go_on;
    }
    // In pieces here, since what only has `append` of tokens is a session, too.
    std::size_t most = 256;
    if constexpr (requires { Session::tokens_a_pass; }) most = Session::tokens_a_pass;
    auto const tell = [&](std::size_t done, std::size_t total) { return go_on = on_progress(done, total); };
    by_passes(most, tokens.size(), [&](std::size_t first, std::size_t n) { session.append(tokens.subspan(first, n)); }, tell);
    return go_on;
}

/// Draws tokens from the logits of a reader, hands each of them to it (the last one and a stop token too), and their text to on_text.
template <class Reader, class Tokenizer, class Chooser, class Receiver>
generation write(Reader&& reader, Tokenizer const& words, Chooser& choose, generate_options const& options, Receiver& on_text) {
    text_stream stream(options.stop_strings);
    generation result{0, stop_reason::max_tokens};
    auto const draw = [&] {
        std::span<float const> const logits = reader.logits();
        for (token const stop : options.stop_tokens)
            if (stop >= logits.size()) throw token_error(message({"goldfinch: stop token ", stop, " is out of range, there are ", logits.size(), " logits"}));
        // Only a sampler that offers it can be told which tokens do not count, since only here their text is known.
        constexpr bool records = requires(token drawn) { drawn = choose.draw(logits), choose.record(drawn, true); };
        token drawn;
        if constexpr (records) {
            drawn = choose.draw(logits);
        } else {
            drawn = std::invoke(choose, logits);
        }
        std::string const text = words.decode(std::span<token const>(&drawn, 1));
        reader.accept(drawn);
        if constexpr (records) choose.record(drawn, counts_for_penalty(text));
        ++result.n_tokens;
        if (std::find(options.stop_tokens.begin(), options.stop_tokens.end(), drawn) != options.stop_tokens.end())
            result.reason = stop_reason::stop_token;
        else if (stream.push(text))
            result.reason = stop_reason::stop_string;
        else if (!hand_over(on_text, stream.take()))
            result.reason = stop_reason::receiver;
        return result.reason == stop_reason::max_tokens;
    };
    try {
        while (result.n_tokens < options.max_tokens && draw()) {
        }
    } catch (...) {
        try {
            reader.settle();
        } catch (...) {  // the session says itself that it is half done; what came first is the cause
        }
        throw;
    }
    reader.settle();
    result.n_passes = reader.passes();
    if (result.reason != stop_reason::receiver) hand_over(on_text, stream.finish());
    return result;
}

}  // namespace detail

/// Appends `prompt` to the session, then draws tokens, appends each of them (the last one and a stop token too) and streams their
/// text to `on_text(std::string_view)`, which ends it by returning false. An empty prompt continues what the session has seen.
///
/// Every piece handed over is whole UTF-8; bytes that are none become U+FFFD, one for each maximal subpart. Text that may begin
/// a stop string is held back until that is decided, and emitted at the end if it was none. A sampler given as an lvalue keeps
/// its penalties and its place in the random stream. `choose` may also be a function from logits to a token.
///
/// With options.draft the text is the same: a run of up to 16 tokens has the bits of as many runs of one (simd). The session must then be left alone
/// until generate returns; what stood in it before this call proposes nothing, only `prompt` and what follows.
///
/// Throws config_error for an empty stop string and drafts out of their range, session_error for an empty prompt on a session that has seen nothing, token_error for a stop
/// token that has no logit, and what the session, the tokenizer, the sampler, `on_text` and `options.on_progress` throw; the session then holds what
/// was read of the prompt and every token recorded so far.
template <class Session, class Tokenizer, class Chooser, class Receiver>
generation generate(Session&& session, Tokenizer const& words, std::string_view prompt, Chooser&& choose, generate_options const& options,
                    Receiver&& on_text) {
    static_assert(token_sequence<Session>, "goldfinch: the first argument of generate is a session");
    static_assert(tokenizer<Tokenizer>, "goldfinch: the second argument of generate is a tokenizer: it encodes text and decodes tokens");
    static_assert(token_chooser<Chooser>, "goldfinch: the fourth argument of generate draws a token from logits: a sampler or a function");
    static_assert(text_receiver<Receiver>,
                  "goldfinch: the last argument of generate takes a std::string_view, and returns nothing or whether to go on");
    for (std::string const& stop : options.stop_strings) {
        if (stop.empty()) throw config_error("goldfinch: a stop string must not be empty");
    }
    std::vector<token> tokens = words.encode(prompt);
    if (tokens.empty() && session.position() == 0) throw session_error("goldfinch: an empty prompt needs a session that has seen tokens");
    using session_type = std::remove_reference_t<Session>;
    if (options.draft.tokens == 0) {
        if (!detail::read_prompt(session, tokens, options.on_progress)) return {0, stop_reason::cancelled};
        return detail::write(detail::one_by_one<session_type>(session), words, choose, options, on_text);
    }
    if constexpr (drafting_sequence<session_type>) {
        detail::by_drafts<session_type> reader(session, tokens, options.draft);
        if (!detail::read_prompt(session, tokens, options.on_progress)) return {0, stop_reason::cancelled};
        return detail::write(reader, words, choose, options, on_text);
    } else {
        throw config_error("goldfinch: drafts need a session that can be copied, and that gives the logits after each of several tokens");
    }
}

}  // namespace goldfinch
