// SPDX-License-Identifier: Apache-2.0
#include "golden_models.hpp"

using golden::four, golden::four_rope;

TEST_CASE("simd<float> gives the official logits of every model of the paper") { golden::check_models<gf::simd<float>>(); }

TEST_CASE("models load from .pth as well") {
    using cache = gf::compressed_keys<float>;
    golden::check<gf::model<four_rope, gf::simd<float>, cache, gf::gptalpha_stack<four_rope>>>("gptalpha", golden::exact, "model.pth");
    golden::check<gf::model<four_rope, gf::simd<float>, cache, gf::llama_stack<four_rope>>>("llama", golden::exact, "model.pth");
}

TEST_CASE("a Llama turns its keys where the config names no base") {
    golden::check<gf::model<four, gf::simd<float>, gf::expanded_kv<float>, gf::llama_stack<four>>>("llama", golden::exact);
}

TEST_CASE("rounded keys and values of blocks stay within their bounds") {
    golden::distances const bf16{0.03, 0.03, 0.03}, int8{0.06, 0.06, 0.06};
    golden::check<gf::model<four_rope, gf::simd<float>, gf::compressed_keys<gf::bf16>, gf::gptalpha_stack<four_rope>>>("gptalpha", bf16);
    golden::check<gf::model<four_rope, gf::simd<float>, gf::compressed_keys<gf::int8>, gf::gptalpha_stack<four_rope>>>("gptalpha", int8);
    golden::check<gf::model<four_rope, gf::simd<float>, gf::compressed_keys<gf::bf16>, gf::llama_stack<four_rope>>>("llama", bf16);
    golden::check<gf::model<four_rope, gf::simd<float>, gf::compressed_keys<gf::int8>, gf::llama_stack<four_rope>>>("llama", int8);
}
