// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <benchmark/benchmark.h>

#include "../examples/commands/program.hpp"

// What the benchmark programs do alike with their arguments.

namespace bench {

using commands::named;
using sizes = std::vector<std::size_t>;

/// What was given, or else the default.
template <class T>
std::vector<T> given_or(std::vector<T> const& given, std::vector<T> const& otherwise) {
    return given.empty() ? otherwise : given;
}

/// The arguments of Google Benchmark are signed.
inline std::vector<std::int64_t> as_arguments(sizes const& values) { return {values.begin(), values.end()}; }

inline std::size_t argument(benchmark::State const& state, std::size_t i) { return static_cast<std::size_t>(state.range(i)); }

/// A program's options, each a list of which every member is measured, and those of Google Benchmark. A list stays as it is where its option is
/// not given.
class arguments {
public:
    arguments(std::string const& name, std::string const& what) : app_(commands::make_app(name, "[options]", what)) {
        app_->footer("Google Benchmark's own options work too, such as --benchmark_filter=REGEX and --benchmark_format=json.");
    }

    /// --tokens 1,8,512
    void numbers(std::string const& option, sizes& values, std::size_t least, std::size_t most, std::string const& about) {
        app_->add_option_function<std::string>(
                option, [&values](std::string const& text) { values = numbers_in(text); }, about)
            ->option_text("N,...")
            ->check(commands::whole_numbers(least, most));
    }
    void threads(sizes& values, std::string const& about) { numbers("--threads", values, 1, 256, about); }

    /// --shape 2048,2048: n numbers of these names. May be repeated.
    template <std::size_t n>
    void shapes(std::vector<std::array<std::size_t, n>>& values, std::string const& names, std::string const& about) {
        constexpr std::uint64_t most = std::uint64_t{1} << 20;
        auto const check = [names](std::string const& text) -> std::string {
            auto const parts = commands::between_commas(text);
            bool right = parts.size() == n;
            for (std::string_view const part : parts) right = right && commands::check_whole_number(part, 1, most).empty();
            return right ? "" : "expected " + names + ", whole numbers from 1 to " + std::to_string(most) + ", found '" + text.substr(0, 40) + "'";
        };
        auto const take = [&values](std::vector<std::string> const& texts) {
            values.clear();
            for (std::string const& text : texts) {
                std::array<std::size_t, n> shape{};
                std::ranges::copy(numbers_in(text), shape.begin());
                values.push_back(shape);
            }
        };
        app_->add_option_function<std::vector<std::string>>("--shape", take, names + about + "; may be repeated")
            ->option_text("N,N")
            ->allow_extra_args(false)
            ->check(CLI::Validator(check, ""));
    }

    /// --weights bf16,int8: members of a list by their names.
    template <class T, std::size_t n>
    void names(std::string const& option, std::vector<named<T>>& values, named<T> const (&list)[n], std::string const& about) {
        auto const take = [&](std::string const& text) {
            values.clear();
            for (std::string_view const part : commands::between_commas(text)) values.push_back(*std::ranges::find(list, part, &named<T>::name));
        };
        app_->add_option_function<std::string>(option, take, about)->option_text("NAME,...")->check(commands::names_of(list));
    }

    /// Parses, lets add() register what is to be measured, and measures it: an exit status, which is 1 for wrong usage as for Google Benchmark's
    /// own options.
    template <class F>
    int run(int argc, char** argv, F const& add) {
        std::vector<char*> own, theirs{argv[0]};
        for (int i = 0; i < argc; ++i) (std::string_view(argv[i]).starts_with("--benchmark_") ? theirs : own).push_back(argv[i]);
        int count = static_cast<int>(theirs.size());
        benchmark::Initialize(&count, theirs.data());  // leaves what it does not know
        if (benchmark::ReportUnrecognizedArguments(count, theirs.data())) return 1;
        int const status = commands::run(*app_, static_cast<int>(own.size()), own.data(), [&] {
            add();
            benchmark::RunSpecifiedBenchmarks();
        });
        benchmark::Shutdown();
        return status == 0 ? 0 : 1;
    }

private:
    static sizes numbers_in(std::string const& text) {
        sizes values;
        for (std::string_view const part : commands::between_commas(text)) values.push_back(std::stoull(std::string(part)));
        return values;
    }

    std::unique_ptr<CLI::App> app_;
};

}  // namespace bench
