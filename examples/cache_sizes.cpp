// SPDX-License-Identifier: Apache-2.0
// goldfinch-cache-sizes: what a token adds to the memory of attention, in this library's types and in published layouts.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include <goldfinch/goldfinch.hpp>

#include "commands/program.hpp"

namespace gf = goldfinch;
using commands::format;

namespace {

template <int layers, int width>
inline constexpr gf::config shape = gf::check({.n_layer = layers, .n_embd = width});

/// f.template operator()<config...>() with the shapes of the table.
template <class F>
constexpr auto with_shapes(F const& f) {
    return f.template operator()<shape<12, 768>, shape<24, 2048>, shape<32, 4096>, shape<40, 5120>, shape<80, 8192>>();
}
constexpr auto shapes = with_shapes([]<gf::config... C>() { return std::array{C...}; });
using bytes = std::array<std::size_t, shapes.size()>;

/// What the types themselves say of a token. Nothing is made: these models would not fit this machine.
template <class Cache, template <gf::config> class Stack>
constexpr bytes bytes_of = with_shapes([]<gf::config... C>() {
    return bytes{gf::session<gf::model<C, gf::simd<gf::bf16>, Cache, Stack<C>>>::cache_bytes_per_token...};
});

template <class F>
constexpr bytes by_formula(F const& f) {
    bytes result{};
    for (std::size_t i = 0; i < shapes.size(); ++i) {
        std::size_t const L = static_cast<std::size_t>(shapes[i].n_layer), D = static_cast<std::size_t>(shapes[i].n_embd);
        result[i] = f(L, D);
    }
    return result;
}

/// Width of a head in the published layouts: 64 in small models, 128 from about a billion parameters on.
constexpr std::size_t head(std::size_t D) { return D < 1024 ? 64 : 128; }

constexpr bytes full = by_formula([](std::size_t L, std::size_t D) { return 4 * D * L; });

/// As the paper counts its own cache: a 4-byte token id and Z values of 2 bytes.
constexpr bytes paper = by_formula([](std::size_t, std::size_t D) { return 2 * (D / 16) + 4; });

constexpr bool paper_counts_as_the_type_does() {
    constexpr gf::config large = gf::checked({.vocab_size = 65537, .n_layer = 24, .n_embd = 2048});  // too many tokens for 2 bytes
    return gf::session<gf::model<large>>::cache_bytes_per_token == paper[1];
}
static_assert(paper_counts_as_the_type_does());

struct row {
    char const* name;
    bytes size;
};

// 2 bytes a value, and both a key and a value: hence 4. GQA: arXiv 2305.13245. MLA: 9/2 widths of a head in a layer, arXiv 2405.04434.
// MLKV: m of the layers have K/V heads, one each; m = L / 6 is the 6 times less than MQA of arXiv 2406.09297. YOCO: the upper half of the
// layers attends to one K/V; the lower half keeps a window or a state, which does not grow: arXiv 2405.05254.
row const published[] = {
    {"full K/V, every layer", full},
    {"GQA, 8 query heads a K/V head", by_formula([](std::size_t L, std::size_t D) { return 4 * D * L / 8; })},
    {"GQA, 8 K/V heads a layer", by_formula([](std::size_t L, std::size_t D) { return 4 * L * 8 * head(D); })},
    {"MLA (DeepSeek-V2)", by_formula([](std::size_t L, std::size_t D) { return 2 * L * head(D) * 9 / 2; })},
    {"MLKV, a K/V head in 6 layers", by_formula([](std::size_t L, std::size_t D) { return 4 * ((L + 5) / 6) * head(D); })},
    {"YOCO, one K/V for all layers", by_formula([](std::size_t, std::size_t D) { return 4 * D; })},
    {"GoldFinch, as the paper counts", paper},
};

row const own[] = {
    {"llama_stack, bf16", bytes_of<gf::compressed_keys<gf::bf16>, gf::llama_stack>},
    {"llama_stack, int8", bytes_of<gf::compressed_keys<gf::int8>, gf::llama_stack>},
    {"gptalpha_stack, bf16", bytes_of<gf::compressed_keys<gf::bf16>, gf::gptalpha_stack>},
    {"gptalpha_stack, int8", bytes_of<gf::compressed_keys<gf::int8>, gf::gptalpha_stack>},
    {"goldfinch_gptalpha_stack, bf16", bytes_of<gf::compressed_keys<gf::bf16>, gf::goldfinch_gptalpha_stack>},
    {"goldfinch_gptalpha_stack, int8", bytes_of<gf::compressed_keys<gf::int8>, gf::goldfinch_gptalpha_stack>},
    {"expanded_kv<bf16>", bytes_of<gf::expanded_kv<gf::bf16>, gf::goldfinch_stack>},
    {"full_keys<bf16>", bytes_of<gf::full_keys<gf::bf16>, gf::goldfinch_stack>},
    {"compressed_keys<float>", bytes_of<gf::compressed_keys<float>, gf::goldfinch_stack>},
    {"compressed_keys<bf16>", bytes_of<gf::compressed_keys<gf::bf16>, gf::goldfinch_stack>},
    {"compressed_keys<int8>", bytes_of<gf::compressed_keys<gf::int8>, gf::goldfinch_stack>},
};

std::string with_commas(std::size_t n) {
    std::string text = std::to_string(n);
    for (std::size_t at = text.size(); at > 3;) text.insert(at -= 3, ",");
    return text;
}

/// A ratio of 756 or 13.6, rounded as it is printed.
std::string ratio(std::size_t all, std::size_t part) {
    double const r = static_cast<double>(all) / static_cast<double>(part);
    return format(r < 100 ? "%.1f" : "%.0f", r);
}

std::string with_unit(double n) {
    for (char const* unit : {"B", "kB", "MB", "GB"}) {
        if (n < 1000) return format(n < 100 ? "%.1f %s" : "%.0f %s", n, unit);
        n /= 1000;
    }
    return format("%.1f TB", n);
}

/// One table, whose cells are cell(bytes a token, which shape).
template <class Cell>
std::string table(std::string const& title, Cell const& cell) {
    std::string text = format("%-34s", title.c_str());
    for (gf::config const& c : shapes) text += format("%12s", format("%dx%d", c.n_layer, c.n_embd).c_str());
    text += "\n";
    auto const add = [&](char const* heading, auto const& rows) {
        text += format(" %s\n", heading);
        for (row const& r : rows) {
            text += format("  %-32s", r.name);
            for (std::size_t i = 0; i < shapes.size(); ++i) text += format("%12s", cell(r.size[i], i).c_str());
            text += "\n";
        }
    };
    add("published, values of 2 bytes", published);
    add("this library's types", own);
    return text + "\n";
}

std::string tables(std::uint64_t context) {
    std::string text = table("bytes a token", [](std::size_t n, std::size_t) { return with_commas(n); }) +
                       table("full K/V is so many times larger", [](std::size_t n, std::size_t i) { return ratio(full[i], n); });
    if (context > 0) {
        text += table(format("%llu tokens", static_cast<unsigned long long>(context)),
                      [&](std::size_t n, std::size_t) { return with_unit(static_cast<double>(n) * static_cast<double>(context)); });
    }
    return text +
           "Columns: layers x width. Published K/V heads are 64 wide at 768, and 128 above.\n"
           "Caches come in whole pages of 64 or 512 tokens; recurrent layers keep a fixed state besides.\n";
}

std::string csv(std::uint64_t context) {
    std::string text = std::string("n_layer,n_embd,n_gold,kind,layout,bytes_per_token,full_kv_ratio") + (context > 0 ? ",context_bytes\n" : "\n");
    auto const add = [&](char const* kind, auto const& rows) {
        for (row const& r : rows)
            for (std::size_t i = 0; i < shapes.size(); ++i) {
                text += format("%d,%d,%d,%s,\"%s\",%zu,%.4f", shapes[i].n_layer, shapes[i].n_embd, shapes[i].n_gold, kind, r.name, r.size[i],
                               static_cast<double>(full[i]) / static_cast<double>(r.size[i]));
                if (context > 0) text += format(",%.0f", static_cast<double>(r.size[i]) * static_cast<double>(context));
                text += "\n";
            }
    };
    add("published", published);
    add("goldfinch", own);
    return text;
}

}  // namespace

int main(int argc, char** argv) {
    bool as_csv = false;
    std::uint64_t context = 0;
    auto const app =
        commands::make_app("goldfinch-cache-sizes", "[options]", "Prints what a token adds to caches: published layouts, and this library's types.");
    app->add_option("--context", context, "also print the size of a context of N tokens")
        ->option_text("N")
        ->check(commands::whole_number(1, std::uint64_t{1} << 40));
    app->add_flag("--csv", as_csv, "comma-separated values, a line for each layout and shape");
    return commands::run(*app, argc, argv, [&] { commands::print(as_csv ? csv(context) : tables(context)); });
}
