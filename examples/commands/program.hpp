// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <iterator>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#if __has_include(<unistd.h>)
#include <unistd.h>
#endif

// What every command does alike: arguments, errors, files, the terminal.

namespace commands {

inline bool is_terminal([[maybe_unused]] std::FILE* stream) {
#if __has_include(<unistd.h>)
    return ::isatty(::fileno(stream)) != 0;
#else
    return false;
#endif
}

/// Writes to standard output at once, so that text is seen as it is made. Throws std::runtime_error, for example where it is closed.
inline void print(std::string_view text) {
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
        throw std::runtime_error(std::string("standard output: ") + std::strerror(errno));
    }
}

/// As printf would print it.
template <class... Values>
std::string format(char const* how, Values... values) {
    char text[256];
    std::snprintf(text, sizeof text, how, values...);
    return text;
}

/// All bytes of a file, or of standard input where `name` is "-".
inline std::string read_all(std::string const& name) {
    bool const standard = name == "-";
    if (name.empty()) throw std::runtime_error("the path of a file is empty");
    auto const fail = [&] { throw std::runtime_error((standard ? "standard input" : name) + ": " + std::strerror(errno)); };
    if (standard && is_terminal(stdin)) std::fputs("Reading standard input: end it with Ctrl-D.\n", stderr);
    std::unique_ptr<std::FILE, int (*)(std::FILE*)> const opened(standard ? nullptr : std::fopen(name.c_str(), "rb"), std::fclose);
    if (!standard && !opened) fail();
    std::FILE* const file = standard ? stdin : opened.get();
    std::string text, piece(1 << 16, '\0');
    while (std::size_t const n = std::fread(piece.data(), 1, piece.size(), file)) text.append(piece, 0, n);
    if (std::ferror(file)) fail();
    return text;
}

/// Whether a text is a number in plain digits within bounds: what is wrong with it, or "". CLI11's own checks read it as a double, take 010 for 8,
/// and show bounds of 300 digits.
inline std::string check_whole_number(std::string_view text, std::uint64_t least, std::uint64_t most) {
    std::uint64_t value = 0;
    char const* const last = text.data() + text.size();
    auto const [end, error] = std::from_chars(text.data(), last, value);
    bool const plain = error == std::errc{} && end == last && (text[0] != '0' || text.size() == 1);
    if (plain && least <= value && value <= most) return "";
    std::string const found(text.size() <= 40 ? text : text.substr(0, 40));
    return "expected a whole number from " + std::to_string(least) + " to " + std::to_string(most) + ", found '" + found + (text.size() <= 40 ? "'" : "...'");
}

/// Accepts such a number.
inline CLI::Validator whole_number(std::uint64_t least, std::uint64_t most) {
    return CLI::Validator([least, most](std::string const& text) { return check_whole_number(text, least, most); }, "");
}

/// The parts of a text between commas, empty ones too.
inline std::vector<std::string_view> between_commas(std::string_view text) {
    std::vector<std::string_view> parts;
    for (std::size_t comma; (comma = text.find(',')) != text.npos; text.remove_prefix(comma + 1)) parts.push_back(text.substr(0, comma));
    parts.push_back(text);
    return parts;
}

/// Accepts such numbers, separated by commas. CLI11's own lists pass over an empty one.
inline CLI::Validator whole_numbers(std::uint64_t least, std::uint64_t most) {
    return CLI::Validator(
        [least, most](std::string const& text) -> std::string {
            for (std::string_view const part : between_commas(text))
                if (std::string what = check_whole_number(part, least, most); !what.empty()) return what;
            return "";
        },
        "");
}

/// A name that an option takes, and what it stands for.
template <class T>
struct named {
    char const* name;
    T value;
};

/// Accepts names of a list, separated by commas.
template <class T, std::size_t n>
CLI::Validator names_of(named<T> const (&list)[n]) {
    return CLI::Validator(
        [&list](std::string const& text) -> std::string {
            for (std::string_view const part : between_commas(text)) {
                if (std::ranges::find(list, part, &named<T>::name) != std::end(list)) continue;
                std::string names;
                for (auto const& known : list) names += (names.empty() ? "" : ", ") + std::string(known.name);
                return "'" + std::string(part) + "' is none of " + names;
            }
            return "";
        },
        "");
}

/// As --threads takes it: 0 stands for all cores.
inline CLI::Validator thread_count() { return whole_number(0, 256); }

/// An App whose help has our usage line, and which shows that line after a mistake too.
inline std::unique_ptr<CLI::App> make_app(std::string const& name, std::string const& arguments, std::string const& description) {
    struct formatter : CLI::Formatter {
        std::string usage;
        std::string make_usage(CLI::App const*, std::string) const override { return usage + "\n"; }
        /// Without the empty lines at its end: a screen has few lines.
        std::string make_help(CLI::App const* of, std::string called, CLI::AppFormatMode mode) const override {
            std::string text = CLI::Formatter::make_help(of, called, mode);
            text.erase(text.find_last_not_of('\n') + 1);
            return text + "\n";
        }
    };
    auto app = std::make_unique<CLI::App>(description, name);
    auto form = std::make_shared<formatter>();
    form->usage = "usage: " + name + " " + arguments;
    form->column_width(26);
    app->formatter(form);
    app->failure_message([usage = form->usage](CLI::App const* failed, CLI::Error const& e) {
        return failed->get_name() + ": " + e.what() + "\n" + usage + "\n(" + failed->get_name() + " --help explains the options)\n";
    });
    return app;
}

/// Parses the arguments and runs the command: 0, or 1 for an error, which takes a line on standard error, or 2 for wrong usage.
template <class Body>
int run(CLI::App& app, int argc, char** argv, Body const& body) {
    auto const failed = [&](std::string_view what) {
        if (constexpr std::string_view prefix = "goldfinch: "; what.starts_with(prefix)) what.remove_prefix(prefix.size());
        std::fprintf(stderr, "%s: %.*s\n", app.get_name().c_str(), static_cast<int>(what.size()), what.data());
        return 1;
    };
    try {
        app.parse(argc, argv);
        body();
        return 0;
    } catch (CLI::ParseError const& e) {
        return app.exit(e) == 0 ? 0 : 2;
    } catch (std::bad_alloc const&) {
        return failed("out of memory");
    } catch (std::exception const& e) {
        return failed(e.what());
    }
}

}  // namespace commands
