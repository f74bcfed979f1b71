// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <exception>
#include <map>
#include <string>
#include <vector>

#include <goldfinch/goldfinch.hpp>

// What a source file gets from the library, whatever flags it is compiled with. Everything here has internal linkage, so that each
// file that includes this header runs its own copy; the library's functions have not, and a program keeps one copy of those.

namespace fast_math {

/// Numbers made from given bits: the compiler of this header may have been told that there are no infinities and no NaN.
struct inputs {
    std::vector<double> exponents;            // of exp, none above 0
    std::vector<float> logits;                // all finite
    std::vector<std::vector<float>> refused;  // logits of which one is not finite
    std::vector<float> not_finite;            // for every option that must be finite
    std::vector<float> reals;                 // to round
};

struct results {
    std::vector<double> exponentials;
    double largest = 0, sum = 0;                             // of the logits, and of exp(logit - largest)
    std::map<std::string, std::vector<double>> frequencies;  // of each token, by what the sampler was asked for
    goldfinch::token greedy = 0, greedy_banned = 0;          // the likeliest token; the same with that one banned
    std::vector<std::string> messages;                       // of what must be refused; "" where it was not
    std::vector<std::uint16_t> bf16_bits, half_bits;
    std::vector<float> bf16_back, half_back;
    std::vector<float> logits, exact_logits;  // of a model, and of the same one on the oracle
    std::vector<float> gates;                 // silu of some gates, steep ones among them
};

namespace {

template <class F>
std::string message_of(F const& f) {
    try {
        f();
        return "";
    } catch (std::exception const& e) {
        return e.what();
    }
}

std::vector<double> frequencies(goldfinch::sampling_options options, std::vector<float> const& logits) {
    options.presence_penalty = options.frequency_penalty = 0;
    goldfinch::sampler sampler(options);
    constexpr int n = 20'000;
    std::vector<double> seen(logits.size());
    for (int i = 0; i < n; ++i) seen[sampler(logits)] += 1.0 / n;
    return seen;
}

template <class Backend>
std::vector<float> logits_of_model() {
    namespace gf = goldfinch;
    static constexpr gf::config little = gf::checked({.vocab_size = 64, .n_layer = 3, .n_embd = 32, .head_size = 16, .rope_base = 10000});
    gf::session session{gf::model<little, Backend, gf::compressed_keys<float>>::random(1, {.threads = 1})};
    session.append(std::vector<gf::token>(90, 5));
    auto const logits = session.step(7);
    return {logits.begin(), logits.end()};
}

std::vector<float> silu(std::vector<float> x) {
    namespace gf = goldfinch;
    gf::cpu_runtime runtime(1);
    gf::cpu_runtime::lease const work(runtime);
    std::vector<float> const gates = x;
    std::fill(x.begin(), x.end(), 1.0f);
    silu_gate(gf::simd<float>(work.executor()), gf::sequence<float const, 8>{gates.data(), 1}, gf::sequence<float, 8>{x.data(), 1});
    return x;
}

results compute(inputs const& in) {
    namespace gf = goldfinch;
    results out;
    for (double const x : in.exponents) out.exponentials.push_back(gf::detail::exp_not_positive(x));
    std::span<float const> const logits(in.logits);
    out.largest = static_cast<double>(gf::detail::largest_of(logits));
    out.sum = gf::detail::sum_of_exp(logits, out.largest, 1, [](auto...) {});

    out.frequencies["plain"] = frequencies({.top_p = 1}, in.logits);
    out.frequencies["warm"] = frequencies({.temperature = 2, .top_p = 1}, in.logits);
    out.frequencies["top_p"] = frequencies({.top_p = 0.5f}, in.logits);
    out.frequencies["top_k"] = frequencies({.top_p = 1, .top_k = 2}, in.logits);
    out.frequencies["banned"] = frequencies({.top_p = 1, .banned_tokens = {0}}, in.logits);
    out.frequencies["cold and banned"] = frequencies({.temperature = 1e-30f, .top_p = 1, .banned_tokens = {0}}, in.logits);
    out.greedy = gf::sampler({.temperature = 0}).draw(in.logits);
    out.greedy_banned = gf::sampler({.temperature = 0, .banned_tokens = {out.greedy}}).draw(in.logits);

    for (auto const& refused : in.refused) out.messages.push_back(message_of([&] { gf::sampler({}).draw(refused); }));
    std::vector<gf::token> all;
    for (std::size_t i = 0; i < in.logits.size(); ++i) all.push_back(static_cast<gf::token>(i));
    out.messages.push_back(message_of([&] { gf::sampler({.banned_tokens = all}).draw(in.logits); }));
    for (float const x : in.not_finite) {
        out.messages.push_back(message_of([&] { gf::sampler({.temperature = x}); }));
        out.messages.push_back(message_of([&] { gf::sampler({.top_p = x}); }));
        out.messages.push_back(message_of([&] { gf::sampler({.presence_penalty = x}); }));
        out.messages.push_back(message_of([&] { gf::sampler({.frequency_penalty = x}); }));
        out.messages.push_back(message_of([&] { gf::sampler({.penalty_decay = x}); }));
    }

    for (float const x : in.reals) {
        out.bf16_bits.push_back(gf::bf16(x).bits);
        out.half_bits.push_back(gf::half(x).bits);
        out.bf16_back.push_back(gf::bf16(x));
        out.half_back.push_back(gf::half(x));
    }
    out.logits = logits_of_model<gf::simd<float>>();
    out.exact_logits = logits_of_model<gf::reference>();
    out.gates = silu({-1e30f, -1000, -100, -88, -1, 0, 1, 100});
    return out;
}

}  // namespace

/// compute() as the file compiled with -ffast-math has it.
results compute_fast(inputs const& in);

}  // namespace fast_math
