// SPDX-License-Identifier: Apache-2.0
#include "golden.hpp"

// The other models of the paper, each from its stack.

namespace {

constexpr gf::config sized(gf::config c) {
    c.vocab_size = 256;
    c.n_embd = 32;
    c.head_size = 16;
    c.dim_ffn = 96;
    return gf::check(c);
}

inline constexpr gf::config four = sized({.n_layer = 4}), four_rope = sized({.n_layer = 4, .rope_base = 10000});
inline constexpr gf::config no_v2 = sized({.n_layer = 3, .use_v2 = false}), no_one_minus_w = sized({.n_layer = 3, .use_one_minus_w = false});
inline constexpr gf::config six = sized({.n_layer = 6}), six_one = sized({.n_layer = 6, .n_gold = 1});

template <class Backend>
void check_all() {
    using cache = gf::compressed_keys<float>;
    golden::check<gf::model<four, Backend, cache, gf::finch_stack<four>>>("finch", golden::exact);
    golden::check<gf::model<four, Backend, cache, gf::finch_c2_stack<four>>>("finchc2", golden::exact);
    golden::check<gf::model<no_v2, Backend, cache, gf::finch_c2_stack<no_v2>>>("finchc2_no_v2", golden::exact);
    golden::check<gf::model<no_one_minus_w, Backend, cache, gf::finch_c2_stack<no_one_minus_w>>>("finchc2_no_one_minus_w", golden::exact);
    golden::check<gf::model<four_rope, Backend, cache, gf::gptalpha_stack<four_rope>>>("gptalpha", golden::exact);
    golden::check<gf::model<four_rope, Backend, cache, gf::llama_stack<four_rope>>>("llama", golden::exact);
    golden::check<gf::model<six, Backend, cache, gf::goldfinch_gptalpha_stack<six>>>("goldfinch_gptalpha", golden::exact);
    golden::check<gf::model<six_one, Backend, cache, gf::goldfinch_on_finch_stack<six_one>>>("goldfinch_upgrade", golden::exact);
}

}  // namespace

TEST_CASE("simd<float> gives the official logits of every model of the paper") { check_all<gf::simd<float>>(); }

TEST_CASE("reference gives the official logits of every model of the paper") { check_all<gf::reference>(); }

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
