// SPDX-License-Identifier: Apache-2.0
// goldfinch-perplexity: how well a model predicts a text.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include "commands/model_options.hpp"

namespace {

namespace gf = goldfinch;

/// The expanded cache is the fastest for a long text, as long as it fits.
constexpr std::size_t most_expanded_bytes = std::size_t{1} << 30;

commands::cache_type choose_cache(commands::model_options& options, gf::config const& cfg, std::size_t tokens) {
    if (options.cache == "auto") {
        std::size_t const bytes_a_token = std::size_t{2} * static_cast<std::size_t>(cfg.n_gold * cfg.n_embd) * sizeof(gf::bf16);
        options.cache = tokens <= most_expanded_bytes / bytes_a_token ? "expanded" : "compressed";
    }
    return options.named_cache();
}

/// The sum of the log-probabilities of all tokens but the first, scored in order by one session.
double score(commands::any_session& session, std::span<gf::token const> tokens) {
    constexpr std::size_t piece = 256;
    commands::progress bar("scoring");
    double sum = 0;
    for (std::size_t i = 0; i < tokens.size(); i += piece) {
        for (double const log_probability : session.score(tokens.subspan(i, std::min(piece, tokens.size() - i)))) sum += log_probability;
        bar(std::min(i + piece, tokens.size()), tokens.size());
    }
    if (!std::isfinite(sum)) throw gf::token_error("the model's logits are not finite");
    return sum;
}

void perplexity(commands::model_options options, std::string const& file) {
    commands::known_model const& known = options.find();
    commands::any_tokenizer const words = options.tokenizer(known.cfg);
    std::string const text = commands::read_all(file);
    std::string const name = file == "-" ? "standard input" : file;
    if (text.empty()) throw gf::session_error(name + ": the text is empty");
    std::vector<gf::token> const tokens = words.encode(text);
    if (tokens.size() == 1) throw gf::session_error(name + ": the text is one token, and the first has nothing before it to be predicted from");

    auto session = options.open(known, choose_cache(options, known.cfg, tokens.size()));
    commands::stopwatch const watch;
    double const nats = std::max(0.0, -score(session, tokens));
    double const seconds = watch.seconds();
    std::fprintf(stderr, "%.1f s, %.1f tokens/s, cache: %s, %zu bytes\n", seconds, static_cast<double>(tokens.size()) / std::max(seconds, 1e-9),
                 options.cache.c_str(), session.cache_bytes());

    std::size_t const scored_tokens = tokens.size() - 1, scored_bytes = text.size() - words.decode(std::span(tokens).first(1)).size();
    double const per_token = nats / static_cast<double>(scored_tokens), per_byte = nats / static_cast<double>(scored_bytes);
    char result[256];
    std::snprintf(result, sizeof result,
                  "scored tokens: %zu\nscored bytes: %zu\nperplexity: %.6g\nnats per token: %.6f\nbits per byte: %.6f\nnats per byte: %.6f\n",
                  scored_tokens, scored_bytes, std::exp(per_token), per_token, per_byte / std::log(2.0), per_byte);
    commands::print(result);
}

}  // namespace

int main(int argc, char** argv) {
    commands::model_options options;
    std::string text;
    auto const app = commands::make_app("goldfinch-perplexity", "-m FILE [options] TEXT",
                                        "Scores a text in order, in one session that carries its state through all of it.\n"
                                        "The first token has nothing before it and is not scored. Perplexity is of a token.\n"
                                        "--cache auto: expanded if it takes at most 1 GiB for the text, which is faster,\n"
                                        "else compressed.");
    app->add_option("TEXT", text, "file to score; -: standard input")->required()->option_text(" ");
    options.declare(*app, "auto", {"auto"});
    return commands::run(*app, argc, argv, [&] { perplexity(options, text); });
}
