// SPDX-License-Identifier: Apache-2.0
#include "golden.hpp"

// Files of examples/train: small random models of every kind as the trainers export them (test_vectors.py wrote both).

namespace {

constexpr gf::config sized(gf::config c) {
    c.vocab_size = 32;
    c.n_embd = 32;
    c.head_size = 16;
    c.dim_ffn = 32;
    return gf::check(c);
}

/// The file says what its model is, and the library gives the trainer's logits.
template <gf::config C, class Stack>
void check_exported(std::string const& kind, std::string_view stack) {
    auto const dir = std::filesystem::path(GOLDFINCH_SOURCE_DIR) / "tests/data/exported" / kind;
    gf::inferred const found = gf::infer_config(gf::read_checkpoint(dir / "model.safetensors"));
    CHECK(found.from_metadata);
    CHECK(found.cfg == C);
    CHECK(found.stack == stack);
    using model = gf::model<C, gf::simd<float>, gf::compressed_keys<float>, Stack>;
    auto const d = golden::compare(model::load(dir / "model.safetensors", {.threads = 1}), golden::vectors(dir / "logits.safetensors"));
    INFO(kind, ": full ", d.full, ", stepped ", d.stepped, ", chunked ", d.chunked);
    CHECK(d.full < 3e-5);
    CHECK(d.stepped < 3e-5);
    CHECK(d.chunked < 3e-5);
}

inline constexpr gf::config one = sized({.n_layer = 1}), divided = sized({.n_layer = 1, .head_size_divisor = 4});
inline constexpr gf::config no_v2 = sized({.n_layer = 1, .use_v2 = false}), no_one_minus_w = sized({.n_layer = 1, .use_one_minus_w = false});
inline constexpr gf::config two = sized({.n_layer = 2}), rope = sized({.n_layer = 2, .rope_base = 10000});
inline constexpr gf::config slow_rope = sized({.n_layer = 2, .rope_base = 10000, .rope_rescale = 2});
inline constexpr gf::config three = sized({.n_layer = 3, .n_gold = 2, .kv_cache_compression_ratio = 8});
inline constexpr gf::config two_no_v2 = sized({.n_layer = 2, .use_v2 = false});
using mixed = gf::stack<gf::block<gf::finch_c2<two_no_v2>, gf::llama_mlp<two>>, gf::block<gf::gptalpha<rope>, gf::channel_mix<two>>>;

}  // namespace

TEST_CASE("models of every kind that the trainers export load, and give their logits") {
    check_exported<divided, gf::eagle_stack<divided>>("eagle", "eagle");
    check_exported<divided, gf::finch_stack<divided>>("finch", "finch");
    check_exported<one, gf::finch_c2_stack<one>>("finch_c2", "finch_c2");
    check_exported<no_v2, gf::finch_c2_stack<no_v2>>("finch_c2_no_v2", "finch_c2");
    check_exported<no_one_minus_w, gf::finch_c2_stack<no_one_minus_w>>("finch_c2_no_one_minus_w", "finch_c2");
    check_exported<rope, gf::gptalpha_stack<rope>>("gptalpha", "gptalpha");
    check_exported<rope, gf::llama_stack<rope>>("llama", "llama");
    check_exported<three, gf::goldfinch_stack<three>>("goldfinch", "goldfinch");
    check_exported<slow_rope, gf::goldfinch_stack<slow_rope>>("goldfinch_rope", "goldfinch");
    check_exported<two, gf::goldfinch_on_finch_stack<two>>("goldfinch_on_finch", "goldfinch_on_finch");
    check_exported<two, gf::goldfinch_gptalpha_stack<two>>("goldfinch_gptalpha", "goldfinch_gptalpha");
    check_exported<two, mixed>("mixed", "goldfinch_gptalpha");  // from its blocks' names
}
