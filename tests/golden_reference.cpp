// SPDX-License-Identifier: Apache-2.0
#include "golden_models.hpp"

template <gf::config C>
using oracle = gf::model<C, gf::reference, gf::compressed_keys<float>>;

TEST_CASE("reference gives the official logits") {
    golden::check<oracle<golden::tiny>>("goldfinch_tiny", golden::exact);
    golden::check<oracle<golden::small>>("goldfinch_small", golden::exact);
    golden::check<oracle<golden::rope>>("goldfinch_rope", golden::exact);
    golden::check<oracle<golden::ratio2>>("goldfinch_ratio2", golden::exact);
    golden::check<oracle<golden::ratio6>>("goldfinch_ratio6", golden::exact);
}

TEST_CASE("reference gives the official logits of every model of the paper") { golden::check_models<gf::reference>(); }
