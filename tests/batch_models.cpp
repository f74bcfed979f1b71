// SPDX-License-Identifier: Apache-2.0
#include "batch.hpp"

TEST_CASE("a batch gives what its sequences give alone, in every model") { batches::check_models<gf::simd<float>>(); }

TEST_CASE("a batch gives what its sequences give alone, where blocks round keys of their own") {
    using batches::check, golden::four_rope;
    check<four_rope, gf::simd<float>, gf::compressed_keys<gf::bf16>, gf::gptalpha_stack<four_rope>>("gptalpha");
    check<four_rope, gf::simd<float>, gf::compressed_keys<gf::int8>, gf::llama_stack<four_rope>>("llama");
    check<four_rope, gf::simd<gf::bf16>, gf::compressed_keys<gf::int8>, gf::gptalpha_stack<four_rope>>("gptalpha");
}
