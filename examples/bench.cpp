// SPDX-License-Identifier: Apache-2.0
// goldfinch-bench: tokens a second of pre-fill and decode, and what this machine's limits would allow, or its GPU's.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <goldfinch/goldfinch.hpp>

#include "../bench/limits.hpp"
#include "bench/any_model.hpp"
#include "bench/gpu/gpu.hpp"
#include "commands/cpu_name.hpp"
#include "commands/find_model.hpp"
#include "commands/program.hpp"
#include "commands/progress.hpp"
#include "commands/random_tokens.hpp"

namespace {

namespace gf = goldfinch;
using bench::any_model, bench::cache_type, bench::weight_type, commands::format, commands::named;

constexpr named<weight_type> weight_types[] = {{"bf16", weight_type::bf16}, {"int8", weight_type::int8}, {"int4", weight_type::int4}};
constexpr named<cache_type> cache_types[] = {{"compressed", cache_type::compressed},
                                             {"compressed-int8", cache_type::compressed_int8},
                                             {"full", cache_type::full},
                                             {"expanded", cache_type::expanded},
                                             {"expanded-int8", cache_type::expanded_int8}};

/// As --shape takes it.
std::string sizes(bench::shape const& s) { return format("%d,%d", s.cfg.n_layer, s.cfg.n_embd); }

std::string check_shape(std::string const& text) {
    std::string known;
    for (bench::shape const& s : bench::shapes) {
        if (sizes(s) == text) return "";
        known += (known.empty() ? "" : "; ") + sizes(s);
    }
    return "this program was not built for '" + text + "', only for " + known;
}

std::string check_backend(std::string const& text) {
    if (text == "cpu" || (text == "cuda" && !bench::on_gpu().models.empty())) return "";
    if (text == "cuda") return "this program was built without CUDA, which takes -D GOLDFINCH_BUILD_CUDA=ON";
    return "'" + text + "' is none of cpu, cuda";
}

std::vector<std::size_t> numbers(std::string const& text) {
    std::vector<std::size_t> result;
    for (std::string_view const part : commands::between_commas(text)) result.push_back(std::stoull(std::string(part)));
    return result;
}

struct options {
    std::string file, shape = "12,768";
    std::string prefill = "512", decode = "64", depth = "0", threads;
    std::string backend = "cpu", weights = "bf16", cache = "compressed";
    std::string format = "md";
    std::size_t repetitions = 5;

    void declare(CLI::App& app) {
        constexpr std::size_t most = 1 << 24;
        auto* const model =
            app.add_option("-m,--model", file, "checkpoint of one of these shapes; none: random weights")
                ->option_text("FILE")
                ->check(CLI::Validator([](std::string const& text) { return text.empty() ? "the path of a file is empty" : ""; }, ""));
        app.add_option("--shape", shape, "n_layer,n_embd: 6,128 (the bundled model's), 12,768 or 24,2048 (12,768)")
            ->option_text("L,D")
            ->check(CLI::Validator(check_shape, ""))
            ->excludes(model);
        app.add_option("-p,--prefill", prefill, "test ppN: read N tokens (512; 0: no such test)")
            ->option_text("N,...")
            ->check(commands::whole_numbers(0, most));
        app.add_option("-n,--decode", decode, "test tgN: a step for each of N tokens (64; 0: no such test)")
            ->option_text("N,...")
            ->check(commands::whole_numbers(0, most));
        app.add_option("-d,--depth", depth, "tokens that the session has seen before a test (0)")
            ->option_text("N,...")
            ->check(commands::whole_numbers(0, most));
        app.add_option("--backend", backend, "cpu, cuda (cpu)")->option_text("NAME")->check(CLI::Validator(check_backend, ""));
        app.add_option("-t,--threads", threads, "threads of the CPU (0: all cores)")->option_text("N,...")->check(commands::whole_numbers(0, 256));
        app.add_option("--weights", weights, "bf16, int8, int4 (bf16)")->option_text("TYPE,...")->check(commands::names_of(weight_types));
        app.add_option("--cache", cache, "compressed, compressed-int8, full, expanded, expanded-int8 (compressed)")
            ->option_text("TYPE,...")
            ->check(commands::names_of(cache_types));
        app.add_option("-r,--repetitions", repetitions, "of each test (5)")->option_text("N")->check(commands::whole_number(1, 1'000'000));
        app.add_option("-o,--output", format, "md, csv, json (md)")->option_text("FORMAT")->check(CLI::IsMember({"md", "csv", "json"}));
    }
};

/// What a number of threads can do at best, or a GPU.
struct limit {
    std::size_t threads;  // 0: a GPU
    double read, fma;     // bytes and floating-point operations a second; of a GPU in a copy and in bf16 products, 0 where that is not known
};

/// What is known before the first test.
struct conditions {
    std::string model, weights_from;
    char const* processor_kind;  // "cpu" or "gpu"
    std::string processor, instruction_set;
    std::size_t repetitions;
    std::vector<limit> limits;
};

struct result {
    bool on_gpu;
    char const *weights, *cache;
    std::size_t threads, depth;
    std::string test;
    std::size_t tokens;
    double rate, deviation;  // tokens a second
    double roof;             // tokens a second
    bool reads;              // the roof is the read bandwidth's, not the arithmetic's
    gf::cost cost;           // of the test for prefill, of a step for decode
    std::size_t cache_bytes;
};

char const* bound(result const& r) { return r.reads ? (r.on_gpu ? "copy" : "read") : (r.on_gpu ? "GEMM" : "FMA"); }

class writer {
public:
    virtual ~writer() = default;
    virtual std::string begin(conditions const& c) = 0;
    virtual std::string row(result const& r) = 0;
    virtual std::string end() { return ""; }
};

std::string sentence(limit const& l) {
    if (l.threads == 0) {
        std::string const products = l.fma > 0 ? format("bf16 products %.0f TFLOP/s", l.fma * 1e-12) : "no cuBLAS for the rate of products";
        return format("GPU: copy %.0f GB/s, ", l.read * 1e-9) + products;
    }
    return format("%zu thread%s: read %.1f GB/s, float32 FMA %.0f GFLOP/s", l.threads, l.threads == 1 ? "" : "s", l.read * 1e-9, l.fma * 1e-9);
}

class md final : public writer {
public:
    std::string begin(conditions const& c) override {
        std::string text = c.model + ", " + c.weights_from + "; " + c.processor + ", " + c.instruction_set + "\n";
        for (limit const& l : c.limits) text += sentence(l) + "\n";
        return text +
               "\n| weights | cache           | threads |    depth | test     |   tokens/s ± deviation  |       roof | of roof | bound | cache MB |\n"
               "|---------|-----------------|--------:|---------:|----------|------------------------:|-----------:|--------:|-------|---------:|\n";
    }
    std::string row(result const& r) override {
        std::string const threads = r.on_gpu ? "-" : std::to_string(r.threads);
        return format("| %-7s | %-15s | %7s | %8zu | %-8s | %12.2f ± %8.2f | %10.2f | %7.2f | %-5s | %8.2f |\n", r.weights, r.cache, threads.c_str(), r.depth,
                      r.test.c_str(), r.rate, r.deviation, r.roof, r.rate / r.roof, bound(r), static_cast<double>(r.cache_bytes) * 1e-6);
    }
};

class csv final : public writer {
public:
    std::string begin(conditions const& c) override {
        model_ = c.model;
        limits_ = c.limits;
        std::string text = "# model: " + c.model + ", " + c.weights_from + "\n# " + c.processor_kind + ": " + c.processor + ", " + c.instruction_set + "\n";
        for (limit const& l : c.limits) text += "# limits: " + sentence(l) + "\n";
        return text +
               "model,weights,cache,threads,depth,test,tokens,tokens_per_s,deviation,roof_tokens_per_s,of_roof,bound,cache_bytes,flops,read_bytes,"
               "read_bytes_per_s,fma_flops_per_s\n";
    }
    std::string row(result const& r) override {
        limit const& l = *std::ranges::find(limits_, r.threads, &limit::threads);
        return model_ + format(",%s,%s,%zu,%zu,%s,%zu,%.3f,%.3f,%.3f,%.4f,%s,%zu,%.0f,%.0f,%.4g,%.4g\n", r.weights, r.cache, r.threads, r.depth,
                               r.test.c_str(), r.tokens, r.rate, r.deviation, r.roof, r.rate / r.roof, bound(r), r.cache_bytes, r.cost.flops,
                               r.cost.weight_bytes + r.cost.cache_bytes, l.read, l.fma);
    }

private:
    std::string model_;
    std::vector<limit> limits_;
};

class json final : public writer {
public:
    std::string begin(conditions const& c) override {
        std::string text;
        auto const field = [&](char const* name, std::string const& value) { text += format("\"%s\": ", name) + gf::io::json_quoted(value) + ", "; };
        field("model", c.model);
        field("weights_from", c.weights_from);
        field(c.processor_kind, c.processor);
        field("instruction_set", c.instruction_set);
        text += format("\"repetitions\": %zu,\n \"limits\": [", c.repetitions);
        for (limit const& l : c.limits)
            text += format("%s{\"threads\": %zu, \"read_bytes_per_s\": %.4g, \"fma_flops_per_s\": %.4g}", &l == &c.limits[0] ? "" : ", ", l.threads,
                           l.read, l.fma);
        return "{" + text + "],\n \"results\": [";
    }
    std::string row(result const& r) override {
        std::string const text =
            format("%s\n  {\"weights\": \"%s\", \"cache\": \"%s\", \"threads\": %zu, \"depth\": %zu, \"test\": \"%s\", \"tokens\": %zu, ",
                   first_ ? "" : ",", r.weights, r.cache, r.threads, r.depth, r.test.c_str(), r.tokens) +
            format("\"tokens_per_s\": %.3f, \"deviation\": %.3f, \"roof_tokens_per_s\": %.3f, \"of_roof\": %.4f, \"bound\": \"%s\", ", r.rate,
                   r.deviation, r.roof, r.rate / r.roof, bound(r)) +
            format("\"cache_bytes\": %zu, \"flops\": %.0f, \"read_bytes\": %.0f}", r.cache_bytes, r.cost.flops,
                   r.cost.weight_bytes + r.cost.cache_bytes);
        first_ = false;
        return text;
    }
    std::string end() override { return "\n ]}\n"; }

private:
    bool first_ = true;
};

std::unique_ptr<writer> make_writer(std::string const& format_name) {
    if (format_name == "csv") return std::make_unique<csv>();
    if (format_name == "json") return std::make_unique<json>();
    return std::make_unique<md>();
}

/// Mean and standard deviation of tokens a second over repetitions of a test, each of which takes test() seconds. The roof of what reads bound on a CPU is
/// that of reads which are measured in turn with them: other programs take bandwidth from both.
template <class Test>
void repeat(result& r, limit const& l, std::size_t repetitions, Test const& test) {
    commands::progress bar(format("%s, depth %zu", r.test.c_str(), r.depth) + (r.on_gpu ? "" : format(", %zu threads", r.threads)));
    std::vector<double> rates;
    bool const reads = r.reads && !r.on_gpu;
    double before = reads ? limits::read_rate_now(r.threads) : 0, roofs = 0;
    for (std::size_t i = 0; i < repetitions; ++i) {
        rates.push_back(static_cast<double>(r.tokens) / std::max(test(), 1e-9));
        if (reads) {
            double const after = limits::read_rate_now(r.threads);
            roofs += r.roof * std::min(1.0, (before + after) / 2 / l.read);
            before = after;
        }
        bar(i + 1, repetitions);
    }
    if (reads) r.roof = roofs / static_cast<double>(repetitions);
    double sum = 0, squares = 0;
    for (double const rate : rates) sum += rate;
    r.rate = sum / static_cast<double>(repetitions);
    for (double const rate : rates) squares += (rate - r.rate) * (rate - r.rate);
    r.deviation = repetitions > 1 ? std::sqrt(squares / static_cast<double>(repetitions - 1)) : 0;
}

/// The rate of `tokens` tokens that cost so much together, where the slower of reading and arithmetic is all there is.
void set_roof(result& r, limit const& l, gf::cost cost, double tokens) {
    double const reading = (cost.weight_bytes + cost.cache_bytes) / l.read, arithmetic = l.fma > 0 ? cost.flops / l.fma : 0;
    r.roof = tokens / std::max(reading, arithmetic);
    r.reads = reading >= arithmetic;
    r.cost = std::move(cost);
}

/// Appends tokens until the session has seen `depth`, and makes what its first logits need, so that no test has to.
void reach(any_model& lm, std::span<gf::token const> tokens, std::size_t depth) {
    constexpr std::size_t piece = 1024;
    commands::progress bar(format("reading to depth %zu", depth));
    for (std::size_t at = lm.position(); at < depth; at += std::min(piece, depth - at)) {
        lm.append(tokens.subspan(at, std::min(piece, depth - at)));
        bar(at, depth);
    }
    if (depth > 0) lm.logits();
}

void sort_and_unite(std::vector<std::size_t>& values) {
    std::ranges::sort(values);
    values.erase(std::unique(values.begin(), values.end()), values.end());
}

/// A model that was asked for.
struct subject {
    named<weight_type> weights;
    named<cache_type> cache;
    std::function<std::unique_ptr<any_model>()> open;
};

std::vector<subject> subjects(options const& o, bench::shape const& shape) {
    auto const models = bench::on_gpu().models;
    std::vector<subject> result;
    for (std::string_view const weights : commands::between_commas(o.weights))
        for (std::string_view const cache : commands::between_commas(o.cache)) {
            subject s{*std::ranges::find(weight_types, weights, &named<weight_type>::name),
                      *std::ranges::find(cache_types, cache, &named<cache_type>::name),
                      {}};
            if (o.backend == "cpu") {
                s.open = [&o, &shape, w = s.weights.value, c = s.cache.value] { return shape.open(o.file, w, c); };
            } else {
                auto const known = std::ranges::find_if(
                    models, [&](bench::gpu_model const& m) { return m.cfg == shape.cfg && m.weights == s.weights.value && m.cache == s.cache.value; });
                if (known == models.end())
                    throw CLI::ValidationError("--backend", "this program has no " + std::string(shape.name) + " with weights " + s.weights.name +
                                                                " and cache " + s.cache.name +
                                                                " for a GPU: examples/bench/gpu/models.hpp lists what it has");
                s.open = [&o, open = known->open] { return open(o.file); };
            }
            result.push_back(std::move(s));
        }
    return result;
}

/// What is measured on: the CPU with each number of threads, or the GPU.
conditions measure_limits(options const& o, bench::shape const& shape, std::vector<std::size_t> const& threads) {
    conditions c{shape.name, o.file.empty() ? "random weights" : o.file, "cpu", "", "", o.repetitions, {}};
    if (o.backend == "cpu") {
        c.processor = commands::cpu_name(), c.instruction_set = gf::instruction_set();
        for (std::size_t const n : threads) c.limits.push_back({n, limits::read_bandwidth(n), limits::fma_peak(n)});
    } else {
        gpu::limits const most = bench::on_gpu().measure_limits();
        c.processor_kind = "gpu", c.processor = most.name, c.instruction_set = most.architecture;
        c.limits.push_back({0, most.copy, most.gemm});
    }
    return c;
}

void measure(options const& o) {
    bool const on_gpu = o.backend == "cuda";
    if (on_gpu && !o.threads.empty()) throw CLI::ValidationError("-t", "with --backend cuda there are no threads to choose");
    std::vector<std::size_t> prefills = numbers(o.prefill), decodes = numbers(o.decode), depths = numbers(o.depth);
    std::vector<std::size_t> threads = numbers(o.threads.empty() ? "0" : o.threads);
    for (std::size_t& n : threads)
        if (n == 0) n = std::max(1u, std::thread::hardware_concurrency());
    std::erase(prefills, 0u);
    std::erase(decodes, 0u);
    if (prefills.empty() && decodes.empty()) throw CLI::ValidationError("-p, -n", "both are 0, so that there is no test");
    sort_and_unite(depths);  // one session reaches them all
    sort_and_unite(threads);
    std::unique_ptr<writer> const out = make_writer(o.format);

    bench::shape const& shape = o.file.empty() ? *std::ranges::find(bench::shapes, o.shape, sizes)
                                               : commands::find_model(o.file, std::nullopt, bench::shapes, "examples/bench/any_model.hpp");
    auto const models = subjects(o, shape);
    conditions const c = measure_limits(o, shape, threads);
    commands::print(out->begin(c));

    std::size_t most = 0;
    for (auto const& list : {prefills, decodes})
        for (std::size_t const n : list) most = std::max(most, n);
    std::vector<gf::token> const tokens = commands::random_tokens(depths.back() + most, shape.cfg.vocab_size);
    // The first call allocates memory; on a GPU the second of a kind makes the CUDA graph that later ones launch.
    std::size_t const warm_up = on_gpu ? 3 : 1;

    for (subject const& s : models) {
        auto const lm = s.open();
        auto const costs = shape.costs(s.weights.value, s.cache.value);
        for (std::size_t const depth : depths) {
            lm->threads(0);
            reach(*lm, tokens, depth);
            for (limit const& l : c.limits) {
                lm->threads(l.threads);
                auto const next = std::span(tokens).subspan(depth);
                auto const test = [&](char const* kind, std::size_t n) {
                    result r{};
                    r.on_gpu = on_gpu, r.weights = s.weights.name, r.cache = s.cache.name, r.threads = l.threads, r.depth = depth;
                    r.test = kind + std::to_string(n), r.tokens = n, r.cache_bytes = lm->cache_bytes();
                    return r;
                };
                for (std::size_t const n : prefills) {
                    result r = test("pp", n);
                    for (std::size_t i = 0; i < warm_up; ++i) lm->prefill(next.first(n));
                    set_roof(r, l, costs.prefill(n), static_cast<double>(n));
                    repeat(r, l, o.repetitions, [&] { return lm->prefill(next.first(n)); });
                    commands::print(out->row(r));
                }
                for (std::size_t const n : decodes) {
                    result r = test("tg", n);
                    for (std::size_t i = 0; i < warm_up; ++i) lm->decode(next.first(std::min(n, warm_up)));
                    set_roof(r, l, costs.decode(depth + (n + 1) / 2), 1);  // of the step in the middle: costs grow linearly
                    repeat(r, l, o.repetitions, [&] { return lm->decode(next.first(n)); });
                    commands::print(out->row(r));
                }
            }
        }
    }
    commands::print(out->end());
}

}  // namespace

int main(int argc, char** argv) {
    options o;
    auto const app = commands::make_app("goldfinch-bench", "[-m FILE | --shape L,D] [options]",
                                        "Measures pre-fill and decode, and the roof: tokens/s if the slower of two were all: reading\n"
                                        "what must be read, at the bandwidth measured in turn with the test, and multiplying at the\n"
                                        "measured float32 rate (bf16 and integer units can be faster); on a GPU at the rates of a\n"
                                        "copy and of cuBLAS in bf16. Keys and values that fit in the working set (4,096 tokens) count\n"
                                        "as read, as with --cache expanded, others as made again. Pre-fill is append alone, without\n"
                                        "logits.");
    o.declare(*app);
    return commands::run(*app, argc, argv, [&] { measure(o); });
}
