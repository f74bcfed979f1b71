// SPDX-License-Identifier: Apache-2.0
#include "batch.hpp"

TEST_CASE("a batch gives what its sequences give alone, from every cache, in the oracle") {
    using batches::check, golden::tiny;
    using backend = gf::reference;
    check<tiny, backend, gf::compressed_keys<float>>("goldfinch_tiny");
    check<tiny, backend, gf::compressed_keys<gf::int8>>("goldfinch_tiny");
    check<tiny, backend, gf::full_keys<float>>("goldfinch_tiny");
    check<tiny, backend, gf::expanded_kv<float>>("goldfinch_tiny");
}

TEST_CASE("a batch gives what its sequences give alone, in every model of the oracle") { batches::check_models<gf::reference>(); }
