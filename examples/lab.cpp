// SPDX-License-Identifier: Apache-2.0
// goldfinch-lab: what a model's shape costs. Measures configurations of one size and prints what they keep and how fast they are.

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <goldfinch/goldfinch.hpp>

#include "commands/cpu_name.hpp"
#include "commands/program.hpp"
#include "commands/progress.hpp"
#include "lab/measure.hpp"
#include "mixers/hgrn2.hpp"
#include "mixers/rg_lru.hpp"

namespace {

namespace gf = goldfinch;
using commands::format, gf::config, lab::entry;

using compressed = gf::compressed_keys<gf::bf16>;

/// n_layer blocks, 256 wide, a third of them GOLD: one of 12 is what all others differ from.
constexpr config layers(int n) { return gf::check({.vocab_size = 256, .n_layer = n, .n_embd = 256}); }

/// GOLD blocks on any time mix.
template <config C, template <config> class TimeMix>
using gold_on = gf::stack<gf::repeat<gf::block<TimeMix<C>, gf::channel_mix<C>>, std::size_t{C.n_layer - C.n_gold}>, gf::token_cat<C>,
                          gf::repeat<gf::block<gf::gold<C>, gf::channel_mix<C>>, std::size_t{C.n_gold}>>;

/// What is measured. To add a configuration, add a line: a name, a config, and a cache and a stack where they are not the default ones.
/// Depths are chosen so that all have about as many parameters; the compiler refuses one that has not.
constexpr lab::configuration configurations[] = {
    entry<layers(12)>("goldfinch"),

    // How many blocks are GOLD: more have fewer states, and more to do at every step.
    entry<config{.vocab_size = 256, .n_layer = 12, .n_gold = 6, .n_embd = 256}>("half GOLD"),
    entry<config{.vocab_size = 256, .n_layer = 12, .n_gold = 2, .n_embd = 256}>("sixth GOLD"),

    // How small a key gets: n_embd / ratio values, 16 in the model above.
    entry<config{.vocab_size = 256, .n_layer = 12, .n_embd = 256, .kv_cache_compression_ratio = 4}>("compression 4"),
    entry<config{.vocab_size = 256, .n_layer = 12, .n_embd = 256, .kv_cache_compression_ratio = 8}>("compression 8"),
    entry<config{.vocab_size = 256, .n_layer = 12, .n_embd = 256, .kv_cache_compression_ratio = 32}>("compression 32"),

    // Heads of 64 above: a state has n_embd * head_size values.
    entry<config{.vocab_size = 256, .n_layer = 12, .n_embd = 256, .head_size = 32}>("heads of 32"),
    entry<config{.vocab_size = 256, .n_layer = 12, .n_embd = 256, .head_size = 128}>("heads of 128"),

    // Depth against width.
    entry<config{.vocab_size = 256, .n_layer = 20, .n_embd = 192}>("20 layers of 192"),
    entry<config{.vocab_size = 256, .n_layer = 5, .n_embd = 384, .dim_ffn = 1536}>("5 layers of 384"),

    // What is kept of a token, and what is made again.
    entry<layers(12), gf::compressed_keys<gf::int8>>("compressed_keys<int8>"),
    entry<layers(12), gf::full_keys<gf::bf16>>("full_keys"),
    entry<layers(12), gf::expanded_kv<gf::bf16>>("expanded_kv"),

    // The paper's other models.
    entry<layers(11), compressed, gf::finch_stack<layers(11)>>("finch"),
    entry<layers(11), compressed, gf::finch_c2_stack<layers(11)>>("finch_c2"),
    entry<layers(13), compressed, gf::gptalpha_stack<layers(13)>>("gptalpha"),
    entry<layers(14), compressed, gf::llama_stack<layers(14)>>("llama"),
    entry<layers(12), compressed, gf::goldfinch_gptalpha_stack<layers(12)>>("gptalpha on finch_c2"),
    entry<layers(12), compressed, gf::goldfinch_on_finch_stack<layers(12)>>("GOLD on finch"),

    // Mixers that others wrote.
    entry<layers(14), compressed, gold_on<layers(14), mixers::hgrn2>>("GOLD on hgrn2"),
    entry<layers(14), compressed, gold_on<layers(14), mixers::rg_lru>>("GOLD on rg_lru"),
};

constexpr std::size_t full_context = 16384, quick_context = 1024;

struct options {
    std::vector<std::string> only;
    std::string csv;
    std::size_t threads = 0;
    bool quick = false, list = false;

    void declare(CLI::App& app) {
        app.add_option("--only", only, "the one of this name, or all that have it in theirs; may be repeated")
            ->option_text("NAME")
            ->allow_extra_args(false);
        app.add_flag("--list", list, "print the names and measure nothing");
        app.add_flag("--quick", quick, "read 1,024 tokens instead of 16,384: seconds, not minutes");
        app.add_option("--csv", csv, "write the table there as CSV, which bench/plot.py draws")->option_text("FILE");
        app.add_option("--threads", threads, "threads (0: all cores)")->option_text("N")->check(commands::thread_count());
    }
};

struct row {
    std::string name;
    lab::figures its;
};

/// In the order of the list, each once.
std::vector<lab::configuration> chosen(std::vector<std::string> const& names) {
    std::vector<bool> wanted(std::size(configurations), names.empty());
    for (std::string const& name : names) {
        bool const exact = std::ranges::any_of(configurations, [&](auto const& c) { return c.name == name; });
        bool found = false;
        for (std::size_t i = 0; i < wanted.size(); ++i) {
            std::string_view const its = configurations[i].name;
            bool const matches = exact ? its == name : its.find(name) != its.npos;
            if (matches) wanted[i] = found = true;
        }
        if (!found) throw std::runtime_error("--only " + name + ": no configuration has that in its name, see --list");
    }
    std::vector<lab::configuration> result;
    for (std::size_t i = 0; i < wanted.size(); ++i)
        if (wanted[i]) result.push_back(configurations[i]);
    return result;
}

void write(std::string const& name, std::string const& text) {
    gf::output_file file(name);
    file.write(std::as_bytes(std::span(text)));
    file.commit();
}

char const* name_of(lab::memory remembers) {
    switch (remembers) {
        case lab::memory::shared_keys: return "shared keys";
        case lab::memory::own_keys: return "own keys";
        default: return "state alone";
    }
}

std::string csv(std::vector<row> const& rows, std::size_t context, std::string const& conditions) {
    std::string text =
        "# lab: " + conditions + "\n# cpu: " + commands::cpu_name() + ", " + gf::instruction_set() +
        "\nname,parameters,weights_mb,cache_bytes_per_token,state_bytes,prefill_tokens_per_s,decode_tokens_per_s,context,ms_per_token_at_context,"
        "prefill_flops_per_token,step_flops,step_weight_bytes,step_cache_bytes,remembers\n";
    for (row const& r : rows) {
        std::string name = r.name;
        for (std::size_t at = 0; (at = name.find('"', at)) != name.npos; at += 2) name.insert(at, 1, '"');
        text += '"' + name + '"' +
                format(",%zu,%.2f,%zu,%zu,%.1f,%.2f,%zu,%.4f,%.0f,%.0f,%.0f,%.0f,%s\n", r.its.parameters, 1e-6 * static_cast<double>(r.its.weight_bytes),
                       r.its.cache_bytes_per_token, r.its.state_bytes, r.its.prefill, r.its.decode, context, 1e3 * r.its.step_at_context,
                       r.its.prefill_flops, r.its.step.flops, r.its.step.weight_bytes, r.its.step.cache_bytes, name_of(r.its.remembers));
    }
    return text;
}

void measure(options const& o) {
    auto const list = chosen(o.only);
    if (o.list) {
        for (auto const& c : list) commands::print(std::string(c.name) + "\n");
        return;
    }
    if (o.csv == "-") throw std::runtime_error("--csv takes the name of a file, not -: standard output has the table");
    // What cannot be written is better known before minutes of measuring. This leaves nothing behind.
    if (!o.csv.empty()) gf::output_file{o.csv};

    auto const titles = [](std::array<char const*, 12> const& t) {
        return format("%-22s %10s %8s %8s %9s %9s %9s %9s %9s %9s %10s %9s\n", t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], t[9], t[10],
                      t[11]);
    };
    lab::settings how{.context = o.quick ? quick_context : full_context, .seconds = o.quick ? 0.05 : 2, .threads = o.threads};
    std::string const context = o.quick ? "1,024" : "16,384";
    std::size_t const threads = o.threads != 0 ? o.threads : std::max(1u, std::thread::hardware_concurrency());
    std::string const conditions = format("%.1f M parameters each, within 5 %%; vocabulary 256, random weights in bf16, %zu threads%s",
                                          1e-6 * lab::budget, threads, o.quick ? "; --quick: a short context, rough figures" : "");
    commands::print(
        conditions + "\nPre-fill: reading " + context + " tokens. Decode: a step after 16 tokens. Step: after " + context +
        " tokens.\nThe last four are counted, not measured: operations a token of pre-fill and a step, and MB that a step must read.\n\n" +
        titles({"", "parameters", "weights", "cache", "state", "pre-fill", "decode", "step", "pre-fill", "step", "reads", "reads"}) +
        titles({"", "", "MB", "B/token", "bytes", "tokens/s", "tokens/s", "ms", "MFLOP", "MFLOP", "MB weights", "MB cache"}));

    std::vector<row> rows;
    for (auto const& c : list) {
        {
            commands::progress bar(format("%2zu of %zu: %-22s", rows.size() + 1, list.size(), c.name));
            how.on_progress = [&](std::size_t done, std::size_t total) { bar(done, total); };
            rows.push_back({c.name, c.measure(how)});
        }
        lab::figures const& its = rows.back().its;
        commands::print(format("%-22s %10zu %8.1f %8zu %9zu %9.0f %9.1f %9.2f %9.2f %9.1f %10.2f %9.3f\n", c.name, its.parameters,
                               1e-6 * static_cast<double>(its.weight_bytes), its.cache_bytes_per_token, its.state_bytes, its.prefill, its.decode,
                               1e3 * its.step_at_context, 1e-6 * its.prefill_flops, 1e-6 * its.step.flops, 1e-6 * its.step.weight_bytes,
                               1e-6 * its.step.cache_bytes));
    }
    if (!o.csv.empty()) write(o.csv, csv(rows, how.context, conditions));
}

}  // namespace

int main(int argc, char** argv) {
    options o;
    auto const app = commands::make_app("goldfinch-lab", "[options]",
                                        "Measures models of one size that differ in shape, cache or layers: what they keep, how fast\n"
                                        "they read and write. All take some minutes, --quick some seconds.");
    o.declare(*app);
    return commands::run(*app, argc, argv, [&] { measure(o); });
}
