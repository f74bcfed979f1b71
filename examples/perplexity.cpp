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

/// The sum of the log-probabilities of all tokens, scored in order by one session.
double score(commands::any_session& session, std::span<gf::token const> tokens) {
    constexpr std::size_t piece = 1024;
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
    commands::any_tokenizer const words = options.tokenizer(known);
    std::string const text = commands::read_all(file);
    if (text.empty()) throw gf::session_error((file == "-" ? "standard input" : file) + ": the text is empty");
    std::vector<gf::token> const tokens = words.encode(text);

    auto const session = options.open(known, choose_cache(options, known.cfg, tokens.size()));
    commands::stopwatch const watch;
    double const nats = -score(*session, tokens);
    double const seconds = watch.seconds();

    auto const n_tokens = static_cast<double>(tokens.size()), n_bytes = static_cast<double>(text.size());
    std::fprintf(stderr, "%.1f s, %.1f tokens/s, cache: %s, %zu bytes\n", seconds, n_tokens / std::max(seconds, 1e-9), options.cache.c_str(), session->cache_bytes());
    char result[256];
    std::snprintf(result, sizeof result, "tokens: %zu\nbytes: %zu\nnats per token: %.6f\nbits per byte: %.6f\nnats per byte: %.6f\n", tokens.size(), text.size(),
                  nats / n_tokens, nats / n_bytes / std::log(2.0), nats / n_bytes);
    commands::print(result);
}

}  // namespace

int main(int argc, char** argv) {
    commands::model_options options;
    std::string text;
    auto const app = commands::make_app("goldfinch-perplexity", "-m FILE [options] TEXT",
                                        "Scores a text in order, in one session that carries its state through all of it.\n"
                                        "The first token scores 0. --cache auto: expanded if it takes at most 1 GiB for the\n"
                                        "text, which is faster, else compressed.");
    app->add_option("TEXT", text, "file to score; -: standard input")->required()->option_text(" ");
    options.declare(*app, "auto", {"auto"});
    return commands::run(*app, argc, argv, [&] { perplexity(options, text); });
}
