// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "any_session.hpp"
#include "find_model.hpp"
#include "known_models.hpp"
#include "program.hpp"
#include "progress.hpp"

namespace commands {

/// The tokenizer of a model: bytes, or the World vocabulary.
class any_tokenizer {
public:
    any_tokenizer() = default;
    explicit any_tokenizer(gf::world_tokenizer world) : words_(std::move(world)) {}

    std::vector<gf::token> encode(std::string_view text) const {
        return std::visit([&](auto const& words) { return words.encode(text); }, words_);
    }
    std::string decode(std::span<gf::token const> tokens) const {
        return std::visit([&](auto const& words) { return words.decode(tokens); }, words_);
    }
    bool is_bytes() const { return words_.index() == 0; }

private:
    std::variant<gf::byte_tokenizer, gf::world_tokenizer> words_;
};

/// The options that say which model and tell what it is.
struct model_file {
    std::string file, vocabulary;
    std::optional<int> rope_base;

    void declare(CLI::App& app) {
        app.add_option("-m,--model", file, "checkpoint: .safetensors or .pth")->required()->option_text("FILE");
        app.add_option("--vocab", vocabulary, "vocabulary, where a model has 65536 tokens (World)")->option_text("FILE");
        app.add_option("--rope", rope_base, "rotary base, such as 10000, where the file cannot tell")->option_text("BASE")->check(whole_number(0, std::numeric_limits<int>::max()));
    }

    /// The model in the file, of a list. Throws gf::load_error where it is none of them.
    template <class Known, std::size_t n>
    Known const& find(Known const (&list)[n], char const* list_file) const {
        return find_model(file, rope_base, list, list_file);
    }

    any_tokenizer tokenizer(gf::config const& cfg) const {
        int const size = cfg.vocab_size;
        if (size == 256) {
            if (!vocabulary.empty()) throw gf::config_error("--vocab: this model's tokens are bytes, it takes no vocabulary");
            return {};
        }
        if (size != 65536) throw gf::config_error("no tokenizer for a vocabulary of " + std::to_string(size) + " tokens, only for 256 (bytes) and 65536 (World)");
        if (vocabulary.empty()) throw gf::config_error("this model has the World vocabulary: give its file with --vocab rwkv_vocab_v20230424.txt");
        return any_tokenizer(gf::world_tokenizer(vocabulary));
    }
};

/// All options about the model, and what they lead to.
struct model_options : model_file {
    std::string cache;
    std::size_t threads = 0;

    void declare(CLI::App& app, std::string const& default_cache, std::vector<std::string> const& more_caches = {}) {
        cache = default_cache;
        std::vector<std::string> caches{"compressed", "compressed-int8", "full", "expanded"};
        caches.insert(caches.end(), more_caches.begin(), more_caches.end());
        model_file::declare(app);
        app.add_option("--cache", cache, CLI::detail::join(caches, ", ") + " (" + default_cache + ")")
            ->option_text("TYPE")
            ->check(CLI::IsMember(caches));
        app.add_option("--threads", threads, "threads (0: all cores)")->option_text("N")->check(thread_count());
    }

    cache_type named_cache() const {
        if (cache == "compressed-int8") return cache_type::compressed_int8;
        if (cache == "full") return cache_type::full;
        return cache == "expanded" ? cache_type::expanded : cache_type::compressed;
    }

    /// The model in the file. Throws gf::load_error where it is none that this program was built for.
    known_model const& find() const { return model_file::find(known_models, "examples/commands/known_models.hpp"); }

    any_session open(known_model const& model, cache_type type) const {
        progress bar("loading");
        return model.open(file, type, {.threads = threads, .on_progress = [&](std::size_t done, std::size_t total) { bar(done, total); }});
    }
};

}  // namespace commands
