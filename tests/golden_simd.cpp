// SPDX-License-Identifier: Apache-2.0
#include "golden.hpp"
#include "rounding.hpp"

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
    // Many tokens at once are rounded to bf16 where the processor multiplies that faster.
    golden::distances const bound = rounds_to_bf16(gf::instruction_set()) ? golden::distances{.full = 0.05, .stepped = golden::exact.stepped, .chunked = 0.05} : golden::exact;
    for (std::string const file : {"model_bf16.safetensors", "model_bf16.pth", "model.safetensors"})
        golden::check<model>("goldfinch_small", bound, file, "golden_bf16.safetensors");
}
