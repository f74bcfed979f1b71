// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include <goldfinch/backend/counting.hpp>
#include <goldfinch/goldfinch.hpp>

#include "../commands/progress.hpp"
#include "../commands/random_tokens.hpp"

namespace lab {

namespace gf = goldfinch;

/// The parameters of every configuration, embeddings included, so that what is compared is what they buy.
inline constexpr std::size_t budget = 10'800'000, tolerance = budget / 20;

/// What a session remembers of the tokens it has seen.
enum class memory { state_alone, shared_keys, own_keys };

/// How to measure.
struct settings {
    std::size_t context = 16384;  ///< tokens to read
    double seconds = 2;           ///< of steps at the least, behind a short context and behind that one
    std::size_t threads = 0;      ///< 0: all cores
    std::function<void(std::size_t done, std::size_t total)> on_progress = {};
};

/// Tokens before the steps that `decode` is about.
inline constexpr std::size_t short_context = 16;

/// The figures of one configuration.
struct figures {
    memory remembers;
    std::size_t parameters, weight_bytes;
    std::size_t cache_bytes_per_token;
    std::size_t state_bytes;
    double prefill;          ///< tokens a second, reading the context
    double decode;           ///< tokens a second, behind a short context
    double step_at_context;  ///< seconds
    double prefill_flops;    ///< of a token of the context, as counted
    gf::cost step;           ///< at that context, as counted
};

/// The least of what `step` returns, called 3 times or more: whatever else the machine does only adds to a step.
inline double fastest(double seconds, std::function<double()> const& step) {
    commands::stopwatch const watch;
    double best = step();
    for (int n = 1; n < 3 || watch.seconds() < seconds; ++n) best = std::min(best, step());
    return best;
}

/// Measures one configuration. Nothing else is compiled for each of them.
template <gf::config C, class Cache, class Stack>
figures measure(settings const& how) {
    using model = gf::model<C, gf::simd<gf::bf16>, Cache, Stack>;
    static_assert(model::n_parameters >= budget - tolerance && model::n_parameters <= budget + tolerance,
                  "goldfinch-lab: a configuration is off the budget of parameters: change its n_layer, n_embd or dim_ffn");

    auto const lm = model::random(1, {.threads = how.threads});
    std::vector<gf::token> const tokens = commands::random_tokens(how.context, C.vocab_size);
    gf::session session{lm};
    auto const seconds_a_step = [&] {
        session.logits();
        return fastest(how.seconds, [&] {
            auto fork = session;  // so that every step has the same past
            commands::stopwatch const watch;
            fork.step(0);
            return watch.seconds();
        });
    };

    session.append(std::span(tokens).first(short_context));
    double const short_step = seconds_a_step();

    // No logits until all is read: the blocks above token_cat have no part in what reading costs.
    constexpr std::size_t piece = 1024;
    commands::stopwatch const watch;
    for (std::size_t i = short_context; i < tokens.size(); i += piece) {
        std::size_t const n = std::min(piece, tokens.size() - i);
        session.append(std::span(tokens).subspan(i, n));
        if (how.on_progress) how.on_progress(i + n, tokens.size());
    }
    double const reading = watch.seconds();

    auto const n = static_cast<double>(tokens.size());
    constexpr std::size_t cache_bytes = gf::session<model>::cache_bytes_per_token;
    return {.remembers = Stack::has_keys   ? memory::shared_keys
                         : cache_bytes > 0 ? memory::own_keys
                                           : memory::state_alone,
            .parameters = model::n_parameters,
            .weight_bytes = model::n_parameters * sizeof(gf::bf16),
            .cache_bytes_per_token = cache_bytes,
            .state_bytes = session.state_bytes(),
            .prefill = (n - short_context) / reading,
            .decode = 1 / short_step,
            .step_at_context = seconds_a_step(),
            .prefill_flops = gf::prefill_cost<model>(tokens.size()).flops / n,
            .step = gf::decode_cost<model>(tokens.size() + 1)};
}

/// A configuration to measure, one line of a list.
struct configuration {
    char const* name;
    figures (*measure)(settings const&);
};

template <gf::config C, class Cache = gf::compressed_keys<>, class Stack = gf::goldfinch_stack<C>>
constexpr configuration entry(char const* name) {
    return {name, measure<C, Cache, Stack>};
}

}  // namespace lab
