// SPDX-License-Identifier: Apache-2.0
#include "../../examples/quantize/observed.hpp"
#include "../../examples/quantize/scaling.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <filesystem>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "../golden.hpp"
#include "../io/builders.hpp"

// What goldfinch-quantize does to weights.

namespace {

inline constexpr gf::config C = gf::checked({.vocab_size = 64, .n_layer = 4, .n_gold = 2, .n_embd = 64, .head_size = 16});

template <class Backend>
using model = gf::model<C, Backend, gf::expanded_kv<float>>;

template <class Backend>
std::vector<float> logits(std::filesystem::path const& path, std::vector<gf::token> const& tokens) {
    auto const lm = model<Backend>::load(path, {.threads = 1});
    gf::session session{lm};
    auto const all = session.step(tokens);
    return {all.begin(), all.end()};
}

double distance(std::vector<float> const& a, std::vector<float> const& b) {
    double squares = 0, of = 0;
    for (std::size_t i = 0; i < a.size(); ++i) squares += std::pow(static_cast<double>(a[i] - b[i]), 2), of += std::pow(static_cast<double>(b[i]), 2);
    return std::sqrt(squares / of);
}

}  // namespace

TEST_CASE("scaled channels compute the same, and rounding costs less where some channels are large") {
    using observed = model<gf::simd<quantize::observed>>;
    build::temporary_directory const dir;
    std::mt19937 random(5);
    std::vector<gf::token> tokens(200);
    for (gf::token& t : tokens) t = static_cast<gf::token>(random() % C.vocab_size);

    // A few channels of every norm a hundred times as large as others, and small columns of what reads them, as training leaves them.
    observed::random(1, {.threads = 1}).save(dir.path("random"));
    quantize::tensors weights = quantize::copies(observed::load(dir.path("random")).weights());
    for (quantize::shared_input const& input : quantize::shared_inputs(weights)) {
        if (input.squared) continue;
        for (std::size_t const channel : {3u, 40u, 63u}) {
            for (std::string const& name : input.makers) weights.at(name).values[channel] *= 100;
            for (std::string const& name : input.matrices)
                for (std::size_t o = 0; o < weights.at(name).shape[0]; ++o) weights.at(name).values[o * C.n_embd + channel] /= 30;
            for (std::string const& name : input.loras)
                for (std::size_t r = 0; r < weights.at(name).shape[1]; ++r) weights.at(name).values[channel * weights.at(name).shape[1] + r] /= 100;
        }
    }
    std::map<std::string, std::string> const metadata = gf::read_checkpoint(dir.path("random")).metadata;
    quantize::write(dir.path("model"), weights, metadata);

    auto const lm = observed::load(dir.path("model"), {.threads = 1});
    std::vector<std::string> names;
    std::size_t n_inputs = 0;
    for (auto const& input : quantize::shared_inputs(weights)) names.insert(names.end(), input.matrices.begin(), input.matrices.end()), ++n_inputs;
    CHECK(n_inputs == C.n_layer * 4 + 1);
    CHECK(names.size() == 2 * (3 + 1) + 2 * (1 + 1) + 4 * (2 + 1) + 1);  // Finch-C2, GOLD, channel mixes, the head
    std::map<std::string, quantize::inputs> seen;
    {
        quantize::observation watch(lm.weights(), names, 3);
        (void)gf::session{lm}.score(tokens);
        seen = watch.named;
    }
    (void)gf::session{lm}.score(tokens);  // nobody watches
    for (std::string const& name : names) {
        INFO(name);
        quantize::inputs const& read = seen.at(name);
        std::size_t const in = weights.at(name).shape.back(), rows = name.ends_with("att.value.weight") ? 2 * tokens.size() : tokens.size();
        CHECK(read.rows <= rows);
        CHECK(read.rows + 2 >= rows);  // the last token of a text need not be predicted from
        CHECK(read.sample.size() == (read.rows + 2) / 3 * in);
    }

    gf::cpu_runtime runtime(2), alone(1);
    std::size_t calls = 0;
    auto const& int4 = gf::format_of(gf::quantized_matrix<4, 1, 1>{});
    quantize::tensors scaled = weights, again = weights;
    auto const errors = quantize::scale(scaled, seen, int4, runtime, [&](std::size_t done, std::size_t total) {
        CHECK(done == ++calls);
        CHECK(done <= total);
    });
    CHECK(calls == n_inputs * 21);
    CHECK(quantize::scale(again, seen, int4, alone, [](std::size_t, std::size_t) {}).after == errors.after);
    for (auto const& [name, t] : scaled) CHECK(t.values == again.at(name).values);
    INFO("squared errors ", errors.before, " and ", errors.after);
    CHECK(errors.before > 0.1);
    CHECK(errors.after < 0.01);

    quantize::write(dir.path("scaled"), scaled, metadata);
    auto const exact = logits<gf::reference>(dir.path("model"), tokens);
    CHECK(distance(logits<gf::reference>(dir.path("scaled"), tokens), exact) < 1e-5);
    double const plain_loss = distance(logits<gf::simd<gf::int4>>(dir.path("model"), tokens), exact);
    double const scaled_loss = distance(logits<gf::simd<gf::int4>>(dir.path("scaled"), tokens), exact);
    INFO("logits in int4: ", plain_loss, " and ", scaled_loss);
    CHECK(scaled_loss < plain_loss / 3);
}
