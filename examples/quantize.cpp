// SPDX-License-Identifier: Apache-2.0
// goldfinch-quantize: writes a model's weights in a few bits, scaled for a text where that helps.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <vector>

#include "commands/model_options.hpp"
#include "quantize/any_model.hpp"
#include "quantize/observed.hpp"
#include "quantize/scaling.hpp"

namespace {

namespace gf = goldfinch;

static_assert(std::ranges::equal(commands::known_models, quantize::known_models, {}, &commands::known_model::cfg, &quantize::known_model::cfg));

struct options {
    commands::model_file model;
    std::string output, weights = "int4";
    std::optional<std::string> text;
    std::size_t tokens = 16384, length = 512, threads = 0;

    void declare(CLI::App& app) {
        model.declare(app);
        app.add_option("-o,--output", output, "file to write")->required()->option_text("FILE");
        app.add_option("--weights", weights, "int4, int8 (int4)")->option_text("TYPE")->check(CLI::IsMember({"int4", "int8"}));
        auto* const with_text = app.add_option("--text", text, "text to scale and to measure with; -: standard input")->option_text("FILE");
        app.add_option("--tokens", tokens, "of the text, to scale with, and at most as many to measure with (16384)")
            ->option_text("N")
            ->check(commands::whole_number(1000, std::numeric_limits<int>::max()))
            ->needs(with_text);
        app.add_option("--length", length, "tokens in a session (512)")->option_text("N")->check(commands::whole_number(16, 1 << 20))->needs(with_text);
        app.add_option("--threads", threads, "threads (0: all cores)")->option_text("N")->check(commands::thread_count());
    }
};

/// A new folder beside a file, which is gone with all in it when the program is done with it.
class temporary_folder {
public:
    explicit temporary_folder(std::filesystem::path const& beside) {
        std::error_code error;
        for (unsigned i = 0; i < 1000; ++i) {
            path_ = beside.parent_path() / ("quantize.tmp" + std::to_string(i));
            if (std::filesystem::create_directory(path_, error)) return;  // what is there is somebody else's
        }
        throw gf::load_error(path_.string() + ": cannot be made: " + (error ? error.message() : "is there already"));
    }
    temporary_folder(temporary_folder const&) = delete;
    temporary_folder& operator=(temporary_folder const&) = delete;
    ~temporary_folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    std::filesystem::path operator/(char const* name) const { return path_ / name; }

private:
    std::filesystem::path path_;
};

using pieces = std::vector<std::span<gf::token const>>;

/// Pieces of a text of one length, so many tokens in all, evenly spread.
pieces spread(std::span<gf::token const> text, std::size_t tokens, std::size_t length) {
    length = std::min({length, tokens, text.size()});
    std::size_t const n = std::clamp<std::size_t>(tokens / length, 1, text.size() / length);
    pieces result;
    for (std::size_t i = 0; i < n; ++i) result.push_back(text.subspan((n > 1 ? i * (text.size() - length) / (n - 1) : 0), length));
    return result;
}

class quantizer {
public:
    explicit quantizer(options const& o)
        : o_(o), known_(o.model.find(quantize::known_models, "examples/quantize/any_model.hpp")),
          type_(o.weights == "int8" ? quantize::weight_type::int8 : quantize::weight_type::int4) {}

    /// Writes a file of rounded weights.
    void round(std::filesystem::path const& from, std::filesystem::path const& to) const {
        commands::progress bar("rounding");
        known_.round(from, to, type_, loading(bar));
    }

    /// Rounds the model with and without scales, and writes what predicts the end of the text better.
    void run_with_text(std::span<gf::token const> text) const {
        std::size_t const most = text.size() * 9 / 10;  // the rest is what it is measured by
        pieces const calibration = spread(text.first(most), o_.tokens, o_.length), measured = spread(text.subspan(most), o_.tokens, o_.length);
        temporary_folder const folder(o_.output);
        std::filesystem::path const scaled = folder / "scaled", narrow = folder / "rounded";

        auto const [of_file, errors] = write_scaled(scaled, calibration, measured);
        auto const loss_of = [&](std::filesystem::path const& source, char const* label) {
            round(source, narrow);
            return nats(*open(narrow), measured, label);
        };
        double const of_rounded = loss_of(o_.model.file, "measuring what is rounded"), of_scaled = loss_of(scaled, "measuring what is scaled");
        bool const better = of_scaled < of_rounded;
        round(better ? scaled : std::filesystem::path(o_.model.file), o_.output);

        auto const more = [&, before = of_file](double loss) { return 100 * (loss / before - 1); };
        std::size_t const predicted = measured.size() * (measured[0].size() - 1);
        commands::print(
            commands::format("squared error of rounded products: %.6f of their squares, scaled %.6f\n", errors.before, errors.after) +
            commands::format("nats a token, of %zu: %.4f, rounded %.4f (%+.2f %%), scaled and rounded %.4f (%+.2f %%)\n", predicted, of_file, of_rounded, more(of_rounded),
                             of_scaled, more(of_scaled)) +
            (better ? "written: scaled and rounded\n" : "written: rounded, without scales\n"));
    }

    gf::config const& cfg() const { return known_.cfg; }

private:
    struct measures {
        double nats;
        quantize::product_errors errors;
    };

    /// Writes the model in float32, scaled for pieces of a text. Its loss before, on others.
    measures write_scaled(std::filesystem::path const& to, pieces const& calibration, pieces const& measured) const {
        auto lm = open(o_.model.file);
        measures result{nats(*lm, measured, "measuring"), {}};

        quantize::tensors weights = quantize::copies(lm->weights());
        std::vector<std::string> names;
        for (auto const& input : quantize::shared_inputs(weights)) names.insert(names.end(), input.matrices.begin(), input.matrices.end());
        constexpr std::size_t most_rows = 256;  // of a matrix that reads one row a token
        quantize::observation seen(lm->weights(), names, (calibration.size() * calibration[0].size() + most_rows - 1) / most_rows);
        (void)nats(*lm, calibration, "reading the text");
        lm.reset();

        gf::cpu_runtime runtime(o_.threads);
        gf::weight_format const& format = type_ == quantize::weight_type::int4 ? gf::format_of(gf::quantized_matrix<4, 1, 1>{}) : gf::format_of(gf::quantized_matrix<8, 1, 1>{});
        commands::progress bar("scaling");
        result.errors = quantize::scale(weights, seen.named, format, runtime, [&](std::size_t done, std::size_t total) { bar(done, total); });

        quantize::write(to, weights, gf::read_checkpoint(o_.model.file).metadata);
        return result;
    }

    std::unique_ptr<quantize::any_model> open(std::filesystem::path const& path) const {
        commands::progress bar("loading");
        return known_.open(path, loading(bar));
    }
    gf::load_options loading(commands::progress& bar) const {
        return {.threads = o_.threads, .on_progress = [&](std::size_t done, std::size_t total) { bar(done, total); }};
    }

    /// Nats a token.
    static double nats(quantize::any_model const& lm, pieces const& text, char const* label) {
        commands::progress bar(label);
        double sum = 0;
        for (std::size_t i = 0; i < text.size(); ++i) {
            sum -= lm.score(text[i]);
            bar(i + 1, text.size());
        }
        double const mean = sum / static_cast<double>(text.size() * (text[0].size() - 1));
        if (!std::isfinite(mean)) throw gf::token_error("the model's logits are not finite");
        return mean;
    }

    options const& o_;
    quantize::known_model const& known_;
    quantize::weight_type type_;
};

void run(options const& o) {
    quantizer const q(o);
    for (std::string const& input : {o.model.file, o.text.value_or("")}) {
        std::error_code ignored;
        if (std::filesystem::equivalent(o.output, input, ignored)) throw gf::load_error(o.output + ": is a file to read: name another to write");
    }
    gf::output_file<>{o.output};  // what cannot be written should be known before the work is done
    if (!o.text) return q.round(o.model.file, o.output);
    std::vector<gf::token> const tokens = o.model.tokenizer(q.cfg()).encode(commands::read_all(*o.text));
    constexpr std::size_t least = 2000;  // a tenth of which can tell better from worse
    if (tokens.size() < least)
        throw gf::session_error((*o.text == "-" ? "standard input" : *o.text) + ": the text has " + std::to_string(tokens.size()) + " tokens, expected " +
                                std::to_string(least) + " at least");
    q.run_with_text(tokens);
}

}  // namespace

int main(int argc, char** argv) {
    options o;
    auto const app = commands::make_app("goldfinch-quantize", "-m FILE -o FILE [options]",
                                        "Writes a model with weights of 4 or 8 bits, which loads as gf::simd<gf::int4> or gf::simd<gf::int8>.\n"
                                        "With a text, channels are scaled so that rounding costs less on its first nine tenths (AWQ);\n"
                                        "the last tenth says what it costs, with activations in float32, and whether the scales are kept.");
    o.declare(*app);
    return commands::run(*app, argc, argv, [&] { run(o); });
}
