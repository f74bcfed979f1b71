// SPDX-License-Identifier: Apache-2.0
// goldfinch-long-context: reads a million tokens, says what that takes, and answers from a saved session.

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <random>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include <goldfinch/goldfinch.hpp>

#include "commands/program.hpp"
#include "commands/progress.hpp"

namespace {

namespace gf = goldfinch;
using model = gf::model<gf::presets::goldfinch_0b1>;

struct options {
    std::size_t tokens = 1'000'000, steps = 3, threads = 0;
    std::string file, saved;

    void declare(CLI::App& app) {
        app.add_option("--tokens", tokens, "tokens to read (1000000)")->option_text("N")->check(commands::whole_number(1, 1'000'000'000));
        app.add_option("--steps", steps, "tokens to answer with (3)")->option_text("N")->check(commands::whole_number(1, 1'000'000));
        app.add_option("-m,--model", file, "checkpoint of L12 D768, .safetensors or .pth; none: random weights")->option_text("FILE");
        app.add_option("--session", saved, "where the session is saved, and stays; none: a temporary file")->option_text("FILE");
        app.add_option("--threads", threads, "threads (0: all cores)")->option_text("N")->check(commands::thread_count());
    }
};

/// The name of a file, which is removed in the end if it is a temporary one.
class session_file {
public:
    explicit session_file(std::string const& name) : path(name.empty() ? temporary() : std::filesystem::path(name)), stays_(!name.empty()) {}
    session_file(session_file const&) = delete;
    session_file& operator=(session_file const&) = delete;
    ~session_file() {
        std::error_code ignored;
        if (!stays_) std::filesystem::remove(path, ignored);
    }
    std::filesystem::path const path;

private:
    static std::filesystem::path temporary() {
        return std::filesystem::temp_directory_path() / ("goldfinch-" + std::to_string(std::random_device{}()) + ".session");
    }
    bool const stays_;
};

std::sig_atomic_t volatile interrupted = 0;

/// While it is there, Ctrl-C cancels what is read; a second one ends the program, as ever.
struct interruptible {
    interruptible() {
        std::signal(SIGINT, [](int) {
            interrupted = 1;
            std::signal(SIGINT, SIG_DFL);
        });
    }
    interruptible(interruptible const&) = delete;
    interruptible& operator=(interruptible const&) = delete;
    ~interruptible() { std::signal(SIGINT, SIG_DFL); }
};

/// Tokens a second of each twentieth that has been read.
class rates {
public:
    bool operator()(std::size_t done, std::size_t total) {
        if (done * 20 >= total * (all_.size() + 1)) {
            double const now = watch_.seconds(), rate = static_cast<double>(done - done_) / std::max(now - seconds_, 1e-9);
            // A pass may end several twentieths of a short text.
            while (all_.size() < 20 && done * 20 >= total * (all_.size() + 1)) all_.push_back(rate);
            std::fprintf(stderr, "%3zu %%  %9zu tokens  %7.1f s  %8.1f tokens/s\n", done * 100 / total, done, now, rate);
            done_ = done, seconds_ = now;
        }
        return !interrupted;
    }
    double first() const { return all_.empty() ? 0 : all_.front(); }
    double last() const { return all_.empty() ? 0 : all_.back(); }
    double seconds() const { return watch_.seconds(); }

private:
    commands::stopwatch watch_;
    std::vector<double> all_;
    std::size_t done_ = 0;
    double seconds_ = 0;
};

std::vector<gf::token> random_tokens(std::size_t n) {
    std::mt19937 random(1);
    std::vector<gf::token> tokens(n);
    for (auto& t : tokens) t = static_cast<gf::token>(random() % static_cast<unsigned>(model::cfg.vocab_size));
    return tokens;
}

void run(options const& o) {
    std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);  // minutes pass between lines
    session_file const saved(o.saved);
    gf::output_file{saved.path.string()};  // what cannot be written is better known before minutes of reading; this leaves nothing behind
    model const lm = o.file.empty() ? model::random(1, {.threads = o.threads}) : model::load(o.file, {.threads = o.threads});
    std::vector<gf::token> const tokens = random_tokens(o.tokens);

    gf::session session{lm};
    rates speed;
    std::size_t n;
    {
        interruptible const scope;
        n = session.append(tokens, speed);
    }
    auto const count = static_cast<double>(n);
    std::printf("read: %zu of %zu tokens, %.1f tokens/s with %zu threads\n", n, tokens.size(), count / speed.seconds(), lm.threads());
    if (speed.first() > 0) std::printf("first and last twentieth: %.1f and %.1f tokens/s\n", speed.first(), speed.last());
    std::printf("cache: %zu bytes, %.1f a token; state: %zu bytes at any length\n", session.cache_bytes(),
        static_cast<double>(session.cache_bytes()) / count, session.state_bytes());

    commands::stopwatch const saving;
    session.save(saved.path);
    std::printf("session file: %ju bytes, saved in %.2f s\n", static_cast<std::uintmax_t>(std::filesystem::file_size(saved.path)), saving.seconds());

    commands::stopwatch const restoring;
    gf::session restored{lm, saved.path};
    std::printf("restored in %.2f s\n", restoring.seconds());

    // One after the other, as if each were alone: both would want what the model keeps of rebuilt keys.
    std::vector<gf::token> answer;
    std::vector<std::vector<float>> given;
    gf::sampler likeliest({.temperature = 0, .presence_penalty = 0, .frequency_penalty = 0});
    for (std::size_t i = 0; i < o.steps; ++i) {
        commands::stopwatch const step;
        auto const logits = i == 0 ? restored.logits() : restored.step(answer.back());
        double const seconds = step.seconds();
        given.emplace_back(logits.begin(), logits.end());
        answer.push_back(likeliest(logits));
        std::printf("token %u after %.3f s\n", answer.back(), seconds);
    }
    for (std::size_t i = 0; i < o.steps; ++i)
        if (!std::ranges::equal(i == 0 ? session.logits() : session.step(answer[i - 1]), given[i]))
            throw std::runtime_error("the restored session does not give the logits of the saved one");
    std::printf("the restored session gives the logits of the saved one, bit for bit\n");
}

}  // namespace

int main(int argc, char** argv) {
    options o;
    auto const app = commands::make_app("goldfinch-long-context", "[options]",
                                        "Reads random tokens into a session of goldfinch_0b1 (L12 D768), with its speed along the way,\n"
                                        "saves it, and answers from the restored one. Ctrl-C ends reading: it goes on with what it has.");
    o.declare(*app);
    return commands::run(*app, argc, argv, [&] { run(o); });
}
