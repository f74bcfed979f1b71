// SPDX-License-Identifier: Apache-2.0
#include <goldfinch/io/infer_config.hpp>

#include <doctest/doctest.h>

#include <charconv>
#include <utility>

#include "builders.hpp"

namespace gf = goldfinch;
using build::shaped, build::names;

namespace {

/// The number behind "key": in a config.json; -1 where the key has none.
int json_number(std::string const& json, std::string const& key) {
    std::size_t const at = json.find("\"" + key + "\": ");
    int value = -1;
    if (at != json.npos) std::from_chars(json.data() + at + key.size() + 4, json.data() + json.size(), value);
    return value;
}

std::string json_text(std::string const& json, std::string const& key) {
    std::size_t const at = json.find("\"" + key + "\": \"");
    if (at == json.npos) return "";
    std::size_t const from = at + key.size() + 5;
    return json.substr(from, json.find('"', from) - from);
}

std::string stack_of(std::string const& tmix, std::string const& tmix2) {
    std::string const lower = tmix == "x060c2" ? "finch_c2" : tmix == "x060" ? "finch" : tmix;
    if (tmix2 == "gold") return lower == "finch" ? "goldfinch_on_finch" : "goldfinch";
    return tmix2 == "gptalpha" ? "goldfinch_gptalpha" : lower;
}

bool lists(std::vector<std::string_view> const& list, std::string_view name) { return std::ranges::find(list, name) != list.end(); }

std::string error_of(gf::checkpoint const& file) {
    try {
        gf::infer_config(file);
        return "";
    } catch (gf::load_error const& e) {
        return e.what();
    }
}

}  // namespace

TEST_CASE("infer_config: every golden model") {
    auto const golden = build::golden_directory();
    if (golden.empty()) {
        MESSAGE("skipped: no golden vectors (set GOLDFINCH_GOLDEN_DIR)");
        return;
    }
    int models = 0;
    for (auto const& entry : std::filesystem::directory_iterator(golden)) {
        if (!entry.is_directory()) continue;
        CAPTURE(entry.path().string());
        std::string const json = build::file_text(entry.path() / "config.json");
        gf::inferred const model = gf::infer_config(gf::read_checkpoint(entry.path() / "model.safetensors"));
        CHECK(model.stack == stack_of(json_text(json, "tmix"), json_text(json, "tmix2")));
        CHECK(model.cfg.vocab_size == json_number(json, "vocab_size"));
        CHECK(model.cfg.n_layer == json_number(json, "n_layer"));
        CHECK(model.cfg.n_embd == json_number(json, "n_embd"));
        CHECK(model.cfg.dim_att == json_number(json, "dim_att"));
        CHECK(model.cfg.dim_ffn == json_number(json, "dim_ffn"));
        CHECK(model.cfg.kv_cache_compression_ratio == json_number(json, "kv_cache_compression_ratio"));
        CHECK((lists(model.unknown, "head_size") || model.cfg.head_size == json_number(json, "head_size")));
        if (!json_text(json, "tmix2").empty()) {
            int const ratio = json_number(json, "inv_other_layer_ratio"), n_layer = model.cfg.n_layer;
            CHECK(model.cfg.n_gold == n_layer - n_layer * (ratio - 1) / ratio);
        }
        if (json_text(json, "tmix") == "x060c2") CHECK((lists(model.unknown, "use_v2") && lists(model.unknown, "use_one_minus_w")));
        if (json_text(json, "tmix") == "x060") CHECK(lists(model.unknown, "head_size_divisor"));
        if (model.stack != "finch" && model.stack != "finch_c2") CHECK(lists(model.unknown, "rope_base"));
        ++models;
    }
    CHECK(models >= 13);
}

TEST_CASE("infer_config: metadata goes before shapes") {
    gf::checkpoint file = names({});
    gf::config const c = gf::check({.vocab_size = 256, .n_layer = 3, .n_embd = 64, .rope_base = 10000});
    file.metadata = gf::to_metadata(c);
    gf::inferred const model = gf::infer_config(file);
    CHECK(model.cfg == c);
    CHECK(model.from_metadata);
    CHECK(model.unknown.empty());
    file.metadata["n_embd"] = "65";
    CHECK(build::contains(error_of(file), "n_embd must be a multiple of 32"));
}

TEST_CASE("infer_config: metadata counts where it is a whole config") {
    gf::checkpoint file = build::finch_c2_names(3);
    gf::inferred const plain = gf::infer_config(file);
    for (auto const& [key, value] : {std::pair{"n_embd", "32"}, {"n_layer", "3 (2 + 1)"}, {"use_v2", "True"}, {"stack", "rwkv"}}) {
        file.metadata = {{key, value}};
        CHECK(gf::infer_config(file).cfg == plain.cfg);
        CHECK(!gf::infer_config(file).from_metadata);
        CHECK(gf::io::stack_from_metadata(file) == nullptr);
    }
    auto const whole = gf::to_metadata({.vocab_size = 256, .n_layer = 3, .n_embd = 64, .rope_base = 10000});
    for (gf::io::config_field const& field : gf::io::config_fields) {
        file.metadata = whole;
        file.metadata["stack"] = "words";
        file.metadata["format"] = "pt";  // what others write beside it does no harm
        CHECK(gf::infer_config(file).cfg.rope_base == 10000);
        REQUIRE(gf::io::stack_from_metadata(file) != nullptr);
        CHECK(*gf::io::stack_from_metadata(file) == "words");
        file.metadata.erase(std::string(field.name));
        CHECK(gf::infer_config(file).cfg == plain.cfg);
        CHECK(gf::io::stack_from_metadata(file) == nullptr);
        file.metadata[std::string(field.name)] = "4x";
        CHECK(gf::infer_config(file).cfg == plain.cfg);
        CHECK(gf::io::stack_from_metadata(file) == nullptr);
    }
}

TEST_CASE("infer_config: what is no model of this family is told so") {
    auto const emb = shaped("emb.weight", {256, 64});
    auto const wq = [](std::size_t l) { return shaped("blocks." + std::to_string(l) + ".att.wq.weight", {64, 64}); };
    CHECK(error_of(names({emb, wq(0)})).empty());
    CHECK(gf::infer_config(names({emb, wq(0), wq(1)})).stack == "llama");
    CHECK(build::contains(error_of(names({})), "names.only: is no model of this family: it has no tensor emb.weight"));
    CHECK(build::contains(error_of(names({emb})), "no blocks"));
    CHECK(build::contains(error_of(names({shaped("emb.weight", {256}), wq(0)})), "emb.weight has shape [256], expected two dimensions"));
    CHECK(build::contains(error_of(names({emb, shaped("blocks.0.att.x", {1})})), "time mix"));
    CHECK(build::contains(error_of(names({emb, wq(0), wq(2)})), "tensors of block 2, but none of block 1"));
    CHECK(build::contains(error_of(names({emb, shaped("blocks.99999999999999999999.x", {1})})), "no sensible block"));
    CHECK(build::contains(error_of(names({emb, shaped("blocks.4000000000.x", {1})})), "no sensible block"));
    CHECK(build::contains(error_of(names({emb, shaped("blocks.", {1})})), "no sensible block"));
    CHECK(build::contains(error_of(names({shaped("emb.weight", {256, 100}), wq(0)})), "multiple of 32"));
    CHECK(build::contains(error_of(names({shaped("emb.weight", {0, 64}), wq(0)})), "vocab_size would be 0"));
    CHECK(build::contains(error_of(names({shaped("emb.weight", {std::uint64_t{1} << 40, 64}), wq(0)})), "vocab_size would be 1099511627776"));
}

TEST_CASE("infer_config: stacks without a name") {
    auto const emb = shaped("emb.weight", {256, 64});
    auto const att = [](std::size_t l, char const* name) { return shaped("blocks." + std::to_string(l) + ".att." + name, {64, 64}); };
    gf::inferred const mixed = gf::infer_config(names({emb, att(0, "wq.weight"), att(1, "time_value2_w1"), att(2, "wq.weight")}));
    CHECK(mixed.stack.empty());
    CHECK(mixed.blocks == std::vector<std::string_view>{"llama", "finch_c2", "llama"});
    CHECK(gf::infer_config(names({emb, att(0, "time_value2_w1"), att(1, "own.weight")})).stack.empty());
}
