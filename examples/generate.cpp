// SPDX-License-Identifier: Apache-2.0
// goldfinch-generate: continues a prompt.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "commands/model_options.hpp"

namespace {

namespace gf = goldfinch;

struct options {
    commands::model_options model;
    std::string prompt = "-";
    bool echo = false;
    gf::generate_options generate;
    gf::sampling_options sampling;
    std::optional<float> presence, frequency;
    std::vector<std::string> banned;

    void declare(CLI::App& app) {
        app.add_option("PROMPT", prompt)->group("");  // the description says what it is
        model.declare(app, "compressed");
        app.add_option("-n,--max-tokens", generate.max_tokens, "tokens to generate at most (256)")->option_text("N")->check(commands::whole_number(0, 1'000'000'000));
        app.add_option("--stop", generate.stop_strings, "end before this text; may be repeated")->option_text("TEXT")->allow_extra_args(false);
        app.add_option("--draft", generate.draft.tokens, "try so many tokens at once where the text repeats itself (0; at most 15)")->option_text("N")->check(commands::whole_number(0, 15));
        app.add_flag("--echo", echo, "print the prompt too");
        app.add_option("--seed", sampling.seed, "the same seed gives the same text (0)")->option_text("N")->check(commands::whole_number(0, std::numeric_limits<std::uint64_t>::max()));
        app.add_option("--temperature", sampling.temperature, "0 is greedy (1)")->option_text("X");
        app.add_option("--top-p", sampling.top_p, "keep the likeliest tokens that together have it (0.85)")->option_text("X");
        app.add_option("--top-k", sampling.top_k, "keep so many tokens at most (0: all)")->option_text("N")->check(commands::whole_number(0, std::numeric_limits<int>::max()));
        app.add_option("--presence", presence, "penalty of tokens already drawn (0.2; for bytes 0)")->option_text("X");
        app.add_option("--frequency", frequency, "the same, times their count (0.2; for bytes 0)")->option_text("X");
        app.add_option("--decay", sampling.penalty_decay, "of these counts, for each token (0.996)")->option_text("X");
        app.add_option("--ban", banned, "token ids never drawn, separated by commas")->option_text("IDS")->allow_extra_args(false)
            ->check(commands::whole_numbers(0, std::numeric_limits<gf::token>::max()));
    }
};

/// A sampler that says when it draws the first time: the prompt has been read then.
template <class F>
struct watched_sampler {
    gf::sampler& sampler;
    F at_first;
    bool begun = false;

    gf::token draw(std::span<float const> logits) {
        if (!std::exchange(begun, true)) at_first();
        return sampler.draw(logits);
    }
    void record(gf::token drawn, bool counts) { sampler.record(drawn, counts); }
    gf::token operator()(std::span<float const> logits) {
        gf::token const drawn = draw(logits);
        record(drawn, true);
        return drawn;
    }
};

void report(char const* what, std::size_t tokens, double seconds) {
    std::fprintf(stderr, "%s: %zu tokens in %.2f s, %.1f tokens/s\n", what, tokens, seconds, static_cast<double>(tokens) / std::max(seconds, 1e-9));
}

void generate(options o) {
    commands::known_model const& known = o.model.find();
    commands::any_tokenizer const words = o.model.tokenizer(known.cfg);
    // Bytes repeat by nature: penalties meant for words would soon forbid the letter e.
    float const penalty = words.is_bytes() ? 0.0f : 0.2f;
    o.sampling.presence_penalty = o.presence.value_or(penalty);
    o.sampling.frequency_penalty = o.frequency.value_or(penalty);
    if (!words.is_bytes()) o.generate.stop_tokens = {0};
    for (std::string const& ids : o.banned)
        for (std::string_view const id : commands::between_commas(ids)) o.sampling.banned_tokens.push_back(static_cast<gf::token>(std::stoul(std::string(id))));
    gf::sampler sampler(o.sampling);
    std::string const prompt = o.prompt == "-" ? commands::read_all("-") : o.prompt;
    std::vector<gf::token> const tokens = words.encode(prompt);
    if (tokens.empty()) throw gf::session_error("the prompt is empty: give some text to continue");

    auto session = o.model.open(known, o.model.named_cache());
    commands::stopwatch const watch;
    double read_seconds = 0;
    std::optional<commands::progress> bar("reading the prompt");
    o.generate.on_progress = [&](std::size_t done, std::size_t total) { return (*bar)(done, total), true; };
    watched_sampler choose{sampler, [&] {
                               bar.reset();
                               read_seconds = watch.seconds();
                               if (o.echo) commands::print(prompt);
                           }};
    gf::generation const done = gf::generate(session, words, prompt, choose, o.generate, commands::print);
    if (!choose.begun) choose.at_first();
    double const write_seconds = watch.seconds() - read_seconds;
    // The figures start a line, also where both streams go to one place.
    if (commands::is_terminal(stdout)) commands::print("\n");
    else std::fputs("\n", stderr);

    report("prompt", tokens.size(), read_seconds);
    report("text", done.n_tokens, write_seconds);
    if (o.generate.draft.tokens > 0)
        std::fprintf(stderr, "drafts: %.2f tokens a pass\n", static_cast<double>(done.n_tokens) / static_cast<double>(std::max<std::size_t>(done.n_passes, 1)));
    std::fprintf(stderr, "cache: %s, %zu bytes for %zu tokens, %.1f bytes/token\n", o.model.cache.c_str(), session.cache_bytes(), session.position(),
                 static_cast<double>(session.cache_bytes()) / static_cast<double>(session.position()));
}

}  // namespace

int main(int argc, char** argv) {
    options o;
    auto const app = commands::make_app("goldfinch-generate", "-m FILE [options] [PROMPT]",
                                        "Continues PROMPT; none or -: read from standard input. Speed and cache size go to standard error.");
    o.declare(*app);
    return commands::run(*app, argc, argv, [&] { generate(std::move(o)); });
}
