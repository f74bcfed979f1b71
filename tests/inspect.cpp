// SPDX-License-Identifier: Apache-2.0
#include <goldfinch/inspect.hpp>

#include <doctest/doctest.h>

#include "io/builders.hpp"

namespace gf = goldfinch;
using build::contains;

TEST_CASE("describe: the config and the type to paste") {
    auto const golden = build::golden_directory();
    if (golden.empty()) {
        MESSAGE("skipped: no golden vectors (set GOLDFINCH_GOLDEN_DIR)");
        return;
    }
    std::string const small = gf::inspect(golden / "goldfinch_small" / "model_bf16.pth");
    CHECK(contains(small, "PyTorch zip archive, 2,545,347 bytes"));
    CHECK(contains(small, "4 * finch_c2, 2 * gold"));
    CHECK(contains(small, "goldfinch::checked({.vocab_size = 512, .n_layer = 6, .n_embd = 128, .head_size = 64, .dim_ffn = 160});"));
    CHECK(contains(small, "using my_model = goldfinch::model<my_config, goldfinch::simd<goldfinch::bf16>>;"));
    CHECK(contains(small, "What the tensors cannot tell: rope_base, rope_rescale, use_one_minus_w, use_v2."));

    CHECK(contains(gf::inspect(golden / "finch" / "model.safetensors"),
                   "goldfinch::simd<float>, goldfinch::compressed_keys<>, goldfinch::finch_stack<my_config>>;"));
    CHECK(contains(gf::inspect(golden / "llama" / "model.pth"), "n_gold = 2   (not used by these blocks)"));
    CHECK(contains(gf::inspect(golden / "goldfinch_ratio6" / "model.safetensors"), ".n_gold = 1"));
}

TEST_CASE("describe: a saved model tells everything") {
    build::temporary_directory const dir;
    auto metadata = gf::to_metadata({.vocab_size = 256, .n_layer = 6, .n_embd = 64, .head_size = 16, .rope_base = 10000, .use_v2 = false});
    metadata["stack"] = "4 * (finch_c2, channel_mix), token_cat, 2 * (gold, channel_mix)";
    gf::write_safetensors(dir.path("saved"), metadata, {});
    std::string const text = gf::inspect(dir.path("saved"));
    CHECK(contains(text, "config, from the file's metadata"));
    CHECK(contains(text, "stack: 4 * (finch_c2, channel_mix)"));
    CHECK(contains(text, ".head_size = 16, .rope_base = 10000, .use_v2 = false});"));
    CHECK(!contains(text, "cannot tell"));
}

TEST_CASE("describe: blocks that are GOLD alone") {
    auto const gold = [](int n) {
        std::vector<gf::stored_tensor> tensors{build::shaped("emb.weight", {256, 64}), build::shaped("w_kv_cache_a.weight", {4, 64})};
        for (int l = 0; l < n; ++l)
            for (char const* const name : {"time_maa_q_w1", "time_maa_kv_w1"})
                tensors.push_back(build::shaped("blocks." + std::to_string(l) + ".att." + name, {64, 64}));
        return build::names(std::move(tensors));
    };
    for (int const n : {1, 2, 5}) {
        gf::inferred const model = gf::infer_config(gold(n));
        CHECK(model.stack == "goldfinch");
        CHECK(model.cfg.n_gold == n);
        std::string const text = gf::io::describe(gold(n));
        CHECK(contains(text, "blocks: " + std::to_string(n) + " * gold\n"));
        CHECK(contains(text, "n_gold = " + std::to_string(n) + "\n"));
        CHECK(contains(text, ".n_gold = ") == (n > 1));  // of one block it is the default
        CHECK(contains(text, "head_size = 64   (not in the file)"));
        CHECK(contains(text, "goldfinch::simd<goldfinch::bf16>>;"));
    }
}

TEST_CASE("describe: metadata that is no whole config is shown where it says something else") {
    gf::checkpoint file = build::finch_c2_names(3);
    CHECK(contains(gf::io::describe(file), "n_layer = 3\n"));
    CHECK(contains(gf::io::describe(file), "use_v2 = true   (not in the file)"));
    file.metadata = {{"n_layer", "3 (2 + 1)"}, {"n_embd", "64"}, {"use_v2", "False"}, {"stack", "rwkv"}};
    std::string const text = gf::io::describe(file);
    CHECK(contains(text, "config, from the tensors' names and shapes"));
    CHECK(!contains(text, "stack: "));
    CHECK(contains(text, "n_layer = 3   (the file's metadata says '3 (2 + 1)')\n"));
    CHECK(contains(text, "n_embd = 64\n"));
    CHECK(contains(text, "use_v2 = true   (not in the tensors; the file's metadata says 'False')\n"));
    CHECK(contains(text, "use_one_minus_w = true   (not in the file)\n"));
    // The same keys in a whole config count.
    file.metadata = gf::to_metadata({.vocab_size = 256, .n_layer = 3, .n_embd = 64, .use_v2 = false});
    file.metadata["stack"] = "3 * (finch_c2, channel_mix)";
    CHECK(contains(gf::io::describe(file), "use_v2 = false\n"));
    CHECK(contains(gf::io::describe(file), "  stack: 3 * (finch_c2, channel_mix)\n"));
}

TEST_CASE("describe: what is no model is refused, and named") {
    build::temporary_directory const dir;
    auto const message = [&](std::string const& bytes) -> std::string {
        try {
            gf::inspect(dir.file("f", bytes));
            return "";
        } catch (gf::load_error const& e) {
            return e.what();
        }
    };
    std::string const text = message(build::small_safetensors());
    CHECK(contains(text, "no model of this family"));
    CHECK(contains(text, "3 tensors, 11 parameters (F32, BF16, I64) such as 'a' [2, 3], 'b.weight' [1, 1, 4], 'c' []"));
    CHECK(contains(message("GGUF and more"), "gguf"));
    CHECK_THROWS_AS(gf::inspect(dir.path("missing")), gf::load_error);
}
