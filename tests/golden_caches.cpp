// SPDX-License-Identifier: Apache-2.0
#include "golden.hpp"

// Float caches are exact. Eight bits of mantissa (bf16), or eight bits a value of a compressed key (int8), move the logits,
// which have a standard deviation of 1, by no more than this.
template <class Cache>
using cached = gf::model<golden::tiny, gf::simd<float>, Cache>;
template <class Cache>
using cached_rope = gf::model<golden::rope, gf::simd<float>, Cache>;

TEST_CASE("every float cache gives the official logits") {
    golden::check<cached<gf::full_keys<float>>>("goldfinch_tiny", golden::exact);
    golden::check<cached<gf::expanded_kv<float>>>("goldfinch_tiny", golden::exact);
    golden::check<cached_rope<gf::full_keys<float>>>("goldfinch_rope", golden::exact);
    golden::check<cached_rope<gf::expanded_kv<float>>>("goldfinch_rope", golden::exact);
}

TEST_CASE("rounded caches stay within their bounds") {
    golden::check<cached<gf::compressed_keys<gf::bf16>>>("goldfinch_tiny", {0.03, 0.03, 0.03});
    golden::check<cached<gf::full_keys<gf::bf16>>>("goldfinch_tiny", {0.03, 0.03, 0.03});
    golden::check<cached<gf::expanded_kv<gf::bf16>>>("goldfinch_tiny", {0.03, 0.03, 0.03});
    golden::check<cached<gf::compressed_keys<gf::int8>>>("goldfinch_tiny", {0.05, 0.05, 0.05});
    golden::check<cached<gf::expanded_kv<gf::int8>>>("goldfinch_tiny", {0.05, 0.05, 0.05});
}
