// SPDX-License-Identifier: Apache-2.0
// The official logits of every golden config, from the CUDA kernels in emulation.
#include <goldfinch/cuda.cuh>

#include "../../golden_models.hpp"

namespace {

template <gf::config C, class Weight = float, class Cache = gf::compressed_keys<float>>
using on_gpu = gf::model<C, gf::cuda<Weight>, Cache>;

constexpr golden::effort little{45, 1, 2};

template <class Model>
void check(std::string const& name, golden::distances const bound = golden::exact) {
    golden::check<Model>(name, bound, "model.safetensors", "golden.safetensors", little);
}

/// The same from sessions that read together, so that there are rows enough for cuBLASLt.
template <class Model>
void check_together(std::string const& name, double bound, std::string const& model = "model.safetensors", std::string const& official = "golden.safetensors") {
    auto const dir = golden::folder(name);
    if (!dir) return;
    auto const lm = Model::load(*dir / model, {.threads = 2});
    golden::vectors const expected(*dir / official);
    auto const tokens = expected.tokens("tokens");
    auto const logits = expected.floats("logits_full");
    std::vector<gf::session<Model>> sessions(4, gf::session{lm});
    std::size_t const before = emulation::cublaslt::get().products;
    gf::append(sessions, std::vector<std::vector<gf::token>>(sessions.size(), tokens));
    CHECK(emulation::cublaslt::get().products > before + 10);
    for (auto& session : sessions) CHECK(golden::distance(session.logits(), std::span(logits).last(Model::cfg.vocab_size)) <= bound);
}

}  // namespace

TEST_CASE("cuda<float> gives the official logits of GoldFinch in every size") {
    golden::check<on_gpu<golden::tiny>>("goldfinch_tiny", golden::exact, "model.safetensors", "golden.safetensors", {25, 2, 70});
    check<on_gpu<golden::small>>("goldfinch_small");
    check<on_gpu<golden::rope>>("goldfinch_rope");
    check<on_gpu<golden::ratio2>>("goldfinch_ratio2");
    check<on_gpu<golden::ratio6>>("goldfinch_ratio6");
}

TEST_CASE("pre-fill by cuBLASLt gives the official logits") {
    check_together<on_gpu<golden::tiny>>("goldfinch_tiny", 3e-5);
    check_together<on_gpu<golden::small>>("goldfinch_small", 3e-5);
    check_together<on_gpu<golden::small, gf::bf16>>("goldfinch_small", 0.05, "model_bf16.safetensors", "golden_bf16.safetensors");
}

TEST_CASE("cuda<float> gives the official logits with every cache") {
    golden::check<on_gpu<golden::tiny, float, gf::full_keys<float>>>("goldfinch_tiny", golden::exact, "model.safetensors", "golden.safetensors", {66, 1, 70});
    golden::check<on_gpu<golden::tiny, float, gf::expanded_kv<float>>>("goldfinch_tiny", golden::exact, "model.safetensors", "golden.safetensors", {66, 1, 70});
}

TEST_CASE("cuda<float> gives the official logits of every model of the paper") { golden::check_models<gf::cuda<float>>(golden::exact, little); }

TEST_CASE("cuda<bf16> gives the official logits of the bf16 weights") {
    golden::check<on_gpu<golden::small, gf::bf16>>("goldfinch_small", {0.05, 0.05, 0.05}, "model_bf16.safetensors", "golden_bf16.safetensors", little);
}
