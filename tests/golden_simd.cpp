// SPDX-License-Identifier: Apache-2.0
#include "golden.hpp"

template <gf::config C>
using exact_model = gf::model<C, gf::simd<float>, gf::compressed_keys<float>>;

TEST_CASE("simd<float> gives the official logits") {
    golden::check<exact_model<golden::tiny>>("goldfinch_tiny", golden::exact);
    golden::check<exact_model<golden::small>>("goldfinch_small", golden::exact);
    golden::check<exact_model<golden::rope>>("goldfinch_rope", golden::exact);
    golden::check<exact_model<golden::ratio2>>("goldfinch_ratio2", golden::exact);
    golden::check<exact_model<golden::ratio6>>("goldfinch_ratio6", golden::exact);
}

TEST_CASE("simd<bf16> gives the official logits of the bf16 weights") {
    using model = gf::model<golden::small, gf::simd<gf::bf16>, gf::compressed_keys<float>>;
    for (std::string const file : {"model_bf16.safetensors", "model_bf16.pth", "model.safetensors"})
        golden::check<model>("goldfinch_small", golden::exact, file, "golden_bf16.safetensors");
}

TEST_CASE("a stack of Finch-C2 blocks alone gives the official logits, with each ablation") {
    golden::check<golden::finch_c2_only<gf::checked({.vocab_size = 256, .n_layer = 4, .n_embd = 32, .head_size = 16, .dim_ffn = 96})>>("finchc2", golden::exact);
    golden::check<golden::finch_c2_only<gf::checked({.vocab_size = 256, .n_layer = 3, .n_embd = 32, .head_size = 16, .dim_ffn = 96, .use_v2 = false})>>("finchc2_no_v2", golden::exact);
    golden::check<golden::finch_c2_only<gf::checked({.vocab_size = 256, .n_layer = 3, .n_embd = 32, .head_size = 16, .dim_ffn = 96, .use_one_minus_w = false})>>("finchc2_no_one_minus_w", golden::exact);
}
