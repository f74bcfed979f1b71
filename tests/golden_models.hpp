// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <type_traits>

#include "golden.hpp"

namespace golden {

// The other models of the paper, each from its stack.

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
void check_models(distances const bound = exact, effort const much = {}) {
    using cache = gf::compressed_keys<float>;
    auto const check_model = [&]<class Model>(std::type_identity<Model>, std::string const& name) { check<Model>(name, bound, "model.safetensors", "golden.safetensors", much); };
    check_model(std::type_identity<gf::model<four, Backend, cache, gf::finch_stack<four>>>{}, "finch");
    check_model(std::type_identity<gf::model<four, Backend, cache, gf::finch_c2_stack<four>>>{}, "finchc2");
    check_model(std::type_identity<gf::model<no_v2, Backend, cache, gf::finch_c2_stack<no_v2>>>{}, "finchc2_no_v2");
    check_model(std::type_identity<gf::model<no_one_minus_w, Backend, cache, gf::finch_c2_stack<no_one_minus_w>>>{}, "finchc2_no_one_minus_w");
    check_model(std::type_identity<gf::model<four_rope, Backend, cache, gf::gptalpha_stack<four_rope>>>{}, "gptalpha");
    check_model(std::type_identity<gf::model<four_rope, Backend, cache, gf::llama_stack<four_rope>>>{}, "llama");
    check_model(std::type_identity<gf::model<six, Backend, cache, gf::goldfinch_gptalpha_stack<six>>>{}, "goldfinch_gptalpha");
    check_model(std::type_identity<gf::model<six_one, Backend, cache, gf::goldfinch_on_finch_stack<six_one>>>{}, "goldfinch_upgrade");
}

}  // namespace golden
